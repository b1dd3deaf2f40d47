"""Packing and unpacking folders: what goes in comes out, and nothing gets out of the folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lecoder_cgpu.files import plan
from lecoder_cgpu.guest import packs, trees
from lecoder_cgpu.guest.beneath import Beneath
from lecoder_cgpu.guest.unpacker import Unpacker

# Names as people and programs make them: any character, newlines, bytes that are not UTF-8, up to 255 bytes.
names = st.one_of(
    st.text(st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1, max_size=20),
    st.binary(min_size=1, max_size=255).map(lambda raw: os.fsdecode(raw.replace(b"/", b"_").replace(b"\0", b"_"))),
    st.sampled_from(["a\nb", "ä" * 60, " ", "-rf", "*", "a\\b", "~"]),
).filter(lambda name: name not in (".", "..") and len(os.fsencode(name)) <= 255)
contents = st.one_of(st.binary(max_size=100), st.sampled_from([0, 70_000]).map(bytes))
folders = st.recursive(
    st.dictionaries(names, contents, max_size=4),
    lambda inner: st.dictionaries(names, st.one_of(contents, inner), max_size=3),
    max_leaves=8,
)
few = settings(max_examples=40)


def build(folder: Path, tree: dict[str, object], mtime: int = 1_700_000_000_123_456_789) -> None:
    """Make that tree on the disk."""
    folder.mkdir(exist_ok=True)
    for name, content in tree.items():
        path = folder / name
        if isinstance(content, dict):
            build(path, content)
        else:
            assert isinstance(content, bytes)
            path.write_bytes(content)
            path.chmod(0o640)
            os.utime(path, ns=(mtime, mtime))


def seen(folder: str) -> list[tuple[object, ...]]:
    """Everything below a folder, with content; the times of folders and of links aside."""
    lines: list[tuple[object, ...]] = []
    for item in trees.scan(folder):
        is_file = item.kind == trees.FILE
        content = Path(trees.join(folder, item.name)).read_bytes() if is_file else None
        lines.append((*item._replace(mtime=item.mtime if is_file else 0), content))
    return lines


def copy(source: str, target: str) -> None:
    """A whole folder, as a transfer does it."""
    entries = plan.scan(source)
    batches = plan.divide(entries)
    assert not batches.large
    unpack = Unpacker(target, "nonce")
    for batch in [*batches.packs, *plan.folders_of(entries)]:
        packed, problems = packs.pack(source, batch)
        assert problems == []
        unpack(packed)
        unpack(packed)  # an answer may be lost, and the same pack come again


@pytest.mark.skipif(os.name != "posix", reason="names are those of POSIX")
@few
@given(folders)
def test_a_tree_comes_out_as_it_went_in(tree: dict[str, object]) -> None:
    """Names, contents, modes and times of any tree survive packing and unpacking; nothing else is left behind."""
    with tempfile.TemporaryDirectory() as place:
        build(Path(place, "in"), tree)
        copy(f"{place}/in", f"{place}/out")
        assert seen(f"{place}/out") == seen(f"{place}/in")
        every = sum(len(found) + len(below) for _, below, found in os.walk(f"{place}/out"))
        assert every == len(seen(f"{place}/out"))


@pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
def test_links_stay_inside(tmp_path: Path) -> None:
    """A link within the tree arrives as a link; one that leads out, absolutely or not, is marked and not followed."""
    source = tmp_path / "in"
    (source / "sub").mkdir(parents=True)
    (source / "file").write_text("x")
    (tmp_path / "secret").write_text("s")
    for name, target in (("sub/up", "../file"), ("out", "../secret"), ("abs", str(source / "file")), ("dir", "sub")):
        (source / name).symlink_to(target)
    kinds = {item.name: item.kind for item in trees.scan(str(source))}
    assert kinds == {
        "file": "file",
        "sub": "folder",
        "sub/up": "link",
        "dir": "link",
        "out": "outside",
        "abs": "outside",
    }
    copy(str(source), str(tmp_path / "out"))
    assert os.readlink(tmp_path / "out" / "sub" / "up") == "../file"
    assert not (tmp_path / "out" / "out").exists()


EVIL = ["../x", "/etc/x", "a/../../x", "..", ".", "", "a//b", "a/./b", "a\0b"]


@pytest.mark.parametrize("name", EVIL)
def test_names_that_leave_are_refused(name: str, tmp_path: Path) -> None:
    """A pack with a name that would leave the folder writes nothing of it."""
    packed = packs.record(name, trees.FILE, 0, b"evil")
    with pytest.raises(trees.Problem) as caught:
        Unpacker(str(tmp_path / "out"), "n")(packed)
    assert caught.value.name == "UnsafeName"
    assert sorted(item.name for item in tmp_path.rglob("*")) == ["out"]


@pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
def test_tricks_with_links_are_refused(tmp_path: Path) -> None:
    """Neither a link in the target folder nor one that a pack brings along can carry a file out of it."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "way").symlink_to(tmp_path)
    with pytest.raises(trees.Problem, match="leads out"):
        Unpacker(str(out), "n")(packs.record("way/x", trees.FILE, 0, b"evil"))
    link = packs.link_record("link", 0, "..")
    with pytest.raises(trees.Problem, match="leads out"):
        Unpacker(str(out), "n")(b"".join(link))
    with pytest.raises(trees.Problem, match="leads out"):
        Beneath(str(out)).delete(["way/out"])
    assert not (tmp_path / "x").exists()


def pack_of(*names: str, content: bytes = b"content") -> bytes:
    return b"".join(packs.record(name, trees.FILE, 0, content) for name in names)


def test_a_pack_that_fails_in_the_middle(tmp_path: Path) -> None:
    """What came before is there, whole and under its name; nothing else is."""
    packed = bytearray(pack_of("a/1", "a/b/2", "a/b/3"))
    packed[-1] ^= 1
    with pytest.raises(trees.Problem) as caught:
        Unpacker(str(tmp_path), "n")(packed)
    assert caught.value.name == "VerifyFailed"
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")} == {"a", "a/1", "a/b", "a/b/2"}


def test_folders_that_somebody_else_makes_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two transfers into the same new folders end up in one; a file or a link outwards in the way is refused."""
    one, two = (Unpacker(str(tmp_path / "out"), nonce) for nonce in ("one", "two"))
    settle = one._settle

    def late() -> None:
        two(pack_of("a/1", "a/b/theirs", "a/new/theirs", content=b"theirs"))
        settle()

    monkeypatch.setattr(one, "_settle", late)
    one(pack_of("a/1", "a/b/2", "a/c/3"))
    monkeypatch.undo()
    one(pack_of("a/b/4"))
    found = {path.relative_to(tmp_path / "out").as_posix(): path for path in (tmp_path / "out").rglob("*")}
    assert found.keys() == {"a", "a/1", "a/b", "a/b/2", "a/b/4", "a/b/theirs", "a/c", "a/c/3", "a/new", "a/new/theirs"}
    assert found["a/1"].read_bytes() == b"content"

    def file_in_the_way() -> None:
        (tmp_path / "out" / "x").write_text("in the way")
        settle()

    monkeypatch.setattr(one, "_settle", file_in_the_way)
    with pytest.raises(trees.Problem) as caught:
        one(pack_of("x/1", "y/1"))
    assert caught.value.name == "NotADirectory"
    assert sorted(item.name for item in (tmp_path / "out").iterdir()) == ["a", "x", "y"]
    assert (tmp_path / "out" / "x").read_text() == "in the way"


@pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
def test_a_link_that_appears_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder does not get its name through a link that leads out."""
    unpack = Unpacker(str(tmp_path / "out"), "n")
    settle = unpack._settle

    def link() -> None:
        (tmp_path / "out" / "way").symlink_to(tmp_path)
        settle()

    monkeypatch.setattr(unpack, "_settle", link)
    with pytest.raises(trees.Problem, match="leads out"):
        unpack(pack_of("way/x"))
    assert sorted(item.name for item in tmp_path.iterdir()) == ["out"]
    assert [item.name for item in (tmp_path / "out").iterdir()] == ["way"]


def test_what_a_killed_process_has_left(tmp_path: Path) -> None:
    """The same transfer, taken up by another process, begins its unfinished folders anew."""
    left = tmp_path / f".n-0{trees.PART_SUFFIX}"
    left.mkdir()
    (left / "half").write_text("ha")
    Unpacker(str(tmp_path), "n")(pack_of("a/1"))
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")} == {"a", "a/1"}


def test_damage_is_found(tmp_path: Path) -> None:
    """A byte that changed on the way, or a pack that was cut, never becomes a file."""
    packed = bytearray(packs.record("file", trees.FILE, 0, b"content"))
    for damaged, name in ((packed[:-1], "BadPack"), (packed[:3], "BadPack"), (packed[:-1] + b"!", "VerifyFailed")):
        with pytest.raises(trees.Problem) as caught:
            Unpacker(str(tmp_path), "n")(damaged)
        assert caught.value.name == name
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_changed_is_told(tmp_path: Path) -> None:
    """What is not what the listing said, or is gone, is a problem and not half a file."""
    for name in ("longer", "shorter", "touched", "gone"):
        (tmp_path / name).write_text("1234")
    entries = list(trees.scan(str(tmp_path)))
    (tmp_path / "longer").write_text("12345")
    (tmp_path / "shorter").write_text("1")
    os.utime(tmp_path / "touched", ns=(1, 1))
    (tmp_path / "gone").unlink()
    packed, problems = packs.pack(str(tmp_path), entries)
    assert packed == b""
    assert {item.entry: item.name for item in problems} == {
        "longer": "FileChanged",
        "shorter": "FileChanged",
        "touched": "FileChanged",
        "gone": "FileNotFound",
    }
