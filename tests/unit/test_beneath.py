"""Work below a folder: no name, link or race leads out of it, with descriptors of folders and without."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lecoder_cgpu.guest import beneath, packs, trees
from lecoder_cgpu.guest.beneath import Beneath
from lecoder_cgpu.guest.unpacker import Unpacker

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
ways = pytest.mark.parametrize("descriptors", [pytest.param(True, id="descriptors"), pytest.param(False, id="paths")])


@pytest.mark.parametrize(
    ("depth", "target", "stays"),
    [
        (0, "file", True),
        (0, "a/b", True),
        (0, "./a//b/", True),
        (1, "../file", True),
        (2, "../../file", True),
        (0, ".", True),
        (0, "..", False),
        (0, "../root/file", False),
        (1, "../../file", False),
        (5, "/etc/passwd", False),
        (0, "p/q/../../x", False),
        (3, "a/../b", False),
        (1, "../a/../b", False),
        (0, "", False),
        (0, "a\0b", False),
    ],
)
def test_links_that_stay(depth: int, target: str, stays: bool) -> None:
    """A link may climb at its beginning and no higher than the root; `..` behind a name leads wherever that leads."""
    assert trees.link_stays(depth, target) is stays


@pytest.mark.parametrize("target", ["C:x", "C:\\x", "..\\x", "\\\\server\\x", "a\\..\\x"])
def test_links_of_windows(target: str) -> None:
    """Drives, servers and backslashes, as Windows reads them."""
    assert not trees.link_stays(0, target, windows=True)


ODD_ON_WINDOWS = [
    "con", "NUL.txt", "com1", "COM¹.log", "lpt9", "con .txt", "conin$", "a/aux/b", "C:", "C:x", "file:stream", "a\\b",
    "..\\x", "trailing.", "trailing ", "a?", "a*", "a|b", '"', "<", "tab\t",
]  # fmt: skip


@pytest.mark.parametrize("name", ODD_ON_WINDOWS)
def test_names_of_windows(name: str) -> None:
    """What is a device, a drive, a stream or another name there is refused there, and a plain name here."""
    assert trees.check_name(name, windows=False) == name
    with pytest.raises(trees.Problem) as caught:
        trees.check_name(name, windows=True)
    assert caught.value.name == "UnsafeName"


def test_usual_names_on_windows() -> None:
    """What only looks like a device is an ordinary name."""
    for name in ("console", "com10", "com", "nullable.txt", ".gitignore", "a.b.c", "ä"):
        assert trees.check_name(name, windows=True) == name


@pytest.mark.parametrize("name", ["a/" * trees.DEEPEST + "a", "a" * (trees.LONGEST + 1)])
def test_names_without_end(name: str) -> None:
    """No folder is that deep, and no name so long."""
    with pytest.raises(trees.Problem) as caught:
        trees.check_name(name)
    assert caught.value.name == "NameTooLong"


@ways
def test_the_chain_of_links(tmp_path: Path, descriptors: bool) -> None:
    """A link whose parts do not exist yet is refused when it comes, not when its parts have come."""
    out = tmp_path / "proj"
    unpack = Unpacker(str(out), "n", descriptors=descriptors)
    with pytest.raises(trees.Problem, match="leads out"):
        unpack(b"".join(packs.link_record("L", 0, "p/q/../../important.txt")))
    assert list(out.iterdir()) == []


@ways
def test_a_link_in_the_place_of_a_file(tmp_path: Path, descriptors: bool) -> None:
    """A file replaces a link, and is never written through it."""
    (tmp_path / "important").write_text("mine")
    (tmp_path / "proj").mkdir()
    (tmp_path / "proj" / "L").symlink_to(tmp_path / "important")
    Unpacker(str(tmp_path / "proj"), "n", descriptors=descriptors)(packs.record("L", trees.FILE, 0, b"theirs"))
    assert (tmp_path / "important").read_text() == "mine"
    assert not (tmp_path / "proj" / "L").is_symlink()


@ways
def test_links_on_the_way(tmp_path: Path, descriptors: bool) -> None:
    """A link to a folder inside is followed; one that leads out, in one step or in several, is not."""
    root = tmp_path / "root"
    (root / "real" / "deep").mkdir(parents=True)
    for name, target in (
        ("inside", "real/deep"),
        ("twice", "inside"),
        ("back", "real/deep/../.."),
        ("real/up", ".."),
        ("out", ".."),
        ("far", str(tmp_path)),
        ("around", "real/up/../x"),
        ("circle", "circle"),
    ):
        (root / name).symlink_to(target)
    folders = Beneath(str(root), descriptors=descriptors)
    for name, found in (("inside", "real/deep"), ("twice", "real/deep"), ("back", ""), ("real/up/real", "real")):
        assert os.path.realpath(folders.folder(name).path) == os.path.realpath(root / found)
    assert folders.folder("real/deep").depth == 2
    assert folders.folder("real/up").depth == 0
    for name in ("out", "out/x", "far", "around", "circle"):
        with pytest.raises(trees.Problem, match="leads out") as caught:
            folders.folder(name, make=True)
        assert caught.value.name == "UnsafeName"


@ways
def test_a_link_counts_from_where_it_lies(tmp_path: Path, descriptors: bool) -> None:
    """A name may go through a link upwards; how far a new link may climb is told by the folder that it lands in."""
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "a" / "top").symlink_to("..")
    unpack = Unpacker(str(root), "n", descriptors=descriptors)
    with pytest.raises(trees.Problem, match="leads out"):
        unpack(b"".join(packs.link_record("a/top/L", 0, "../../important")))
    unpack(b"".join(packs.link_record("a/L", 0, "../file")))
    assert os.readlink(root / "a" / "L") == "../file"


@ways
def test_modes_are_masked(tmp_path: Path, descriptors: bool) -> None:
    """No setuid, setgid or sticky bit arrives, and the umask holds for files and folders."""
    before = os.umask(0o027)
    try:
        entries = [trees.Entry("d", trees.FOLDER, 0, 0, 0o7777)]
        packed = bytearray(packs.record("d/f", trees.FILE, 0, b"x"))
        packed[2:6] = (stat.S_IFREG | 0o6777).to_bytes(4, "big")  # the mode, behind the length of the name
        unpack = Unpacker(str(tmp_path / "out"), "n", descriptors=descriptors)
        unpack(bytes(packed) + b"".join(packs.folder_records(entries)))
        modes = [stat.S_IMODE((tmp_path / "out" / name).stat().st_mode) for name in ("d", "d/f")]
        assert modes == [0o750, 0o750]
    finally:
        os.umask(before)


@ways
def test_what_is_in_the_way(tmp_path: Path, descriptors: bool) -> None:
    """Pipes, devices and folders are not replaced; a link is, unless it was named."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    top = Beneath(str(tmp_path), descriptors=descriptors).top
    for name, told in (("pipe", "NotAFile"), ("folder", "IsADirectory")):
        with pytest.raises(trees.Problem) as caught:
            top.check_replaceable(name)
        assert caught.value.name == told
    top.check_replaceable("link")
    with pytest.raises(trees.Problem) as caught:
        top.check_replaceable("link", links=False)
    assert caught.value.name == "IsALink"
    for name in ("pipe", "link"):
        with pytest.raises(trees.Problem) as caught:
            top.open(name, os.O_WRONLY | os.O_CREAT)
        assert caught.value.name == "NotAFile"


def test_a_folder_that_becomes_a_link(tmp_path: Path) -> None:
    """Whoever swaps a folder for a link after it was opened gains nothing: the open folder is written to."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "d").mkdir(parents=True)
    outside.mkdir()
    folder, name = Beneath(str(root)).place("d/file")
    (root / "d").rename(root / "moved")
    (root / "d").symlink_to(outside)
    folder.write(name, b"x")
    assert (list(outside.iterdir()), (root / "moved" / "file").read_bytes()) == ([], b"x")


def test_few_folders_stay_open(tmp_path: Path) -> None:
    """Thousands of folders need no more descriptors than some."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 64
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + beneath.HELD + 16, before[1]))
    try:
        unpack = Unpacker(str(tmp_path / "out"), "n")
        unpack(b"".join(packs.record(f"{number}/x/f", trees.FILE, 0, b"") for number in range(300)))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert len(list((tmp_path / "out").iterdir())) == 300


parts = st.sampled_from(["a", "b", "c", "..", ".", "a/b", "b/..", ""])
hostile = st.lists(
    st.tuples(
        st.sampled_from(["file", "link", "folder"]),
        st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map("/".join)
        | st.text("ab/.\0", max_size=6),
        st.lists(parts, min_size=1, max_size=4).map("/".join),
    ),
    max_size=12,
)


def pack_of(kind: str, name: str, target: str) -> bytes:
    if kind == "link":
        return b"".join(packs.link_record(name, 0, target))
    if kind == "folder":
        return next(packs.folder_records([trees.Entry(name, trees.FOLDER, 0, 1, 0o7777)]))
    return packs.record(name, trees.FILE, 0, b"evil")


@settings(max_examples=60)
@given(hostile, st.booleans())
def test_no_order_of_records_leads_out(records: list[tuple[str, str, str]], descriptors: bool) -> None:
    """Files, links and folders of any names, in any order, each its own transfer: what lies outside is untouched, and
    no link that was made leads out by now."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place, "root")
        for name in ("a", "b", "c"):
            Path(place, name).write_text("mine")
        for kind, name, target in records:
            try:
                Unpacker(str(root), "n", descriptors=descriptors)(pack_of(kind, name, target))
            except trees.Problem:
                continue
        assert {item.name for item in Path(place).iterdir()} - {"root"} == {"a", "b", "c"}
        assert all(Path(place, name).read_text() == "mine" for name in ("a", "b", "c"))
        for folder, folders, files in os.walk(root):
            for item in (*folders, *files):
                with contextlib.suppress(OSError):  # it leads nowhere, or in a circle
                    real = os.path.realpath(os.path.join(folder, item), strict=True)
                    assert trees.is_inside(real, os.path.realpath(root))
