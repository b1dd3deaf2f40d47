"""What a sync does, and what it leaves alone: pure decisions."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lecoder_cgpu import errors
from lecoder_cgpu.files import plan
from lecoder_cgpu.files.ignore import Ignore
from lecoder_cgpu.guest.trees import Entry


def file(name: str, size: int = 1, mtime: int = 10**18) -> Entry:
    return Entry(name, "file", size, mtime, 0o644)


def folder(name: str) -> Entry:
    return Entry(name, "folder", 0, 0, 0o755)


def test_only_differences_are_sent() -> None:
    """New, longer and newer files go; the same size and time does not; a missing folder is made."""
    here = [folder("d"), file("d/new"), file("same"), file("longer", 2), file("newer", mtime=2 * 10**18)]
    there = [file("same", mtime=10**18 + 999), file("longer"), file("newer")]
    made = plan.plan(here, there)
    assert [item.name for item in made.send] == ["d", "d/new", "longer", "newer"]
    assert (made.unchanged, made.delete, made.unsure) == (1, [], [])


def test_checksums_decide_where_sizes_agree() -> None:
    """With --checksum, times say nothing, and a different size needs no hash."""
    made = plan.plan([file("a"), file("b", 2)], [file("a", mtime=5), file("b", 3)], checksum=True)
    assert (made.unsure, [item.name for item in made.send]) == (["a"], ["b"])


def test_deleting_goes_from_the_bottom_and_spares_what_is_ignored() -> None:
    """What is only there goes, files before their folders; ignored names stay."""
    there = [folder("old"), folder("old/deep"), file("old/deep/x"), file("old/y"), file("kept.log"), file("both")]
    made = plan.plan([file("both")], there, delete=lambda name, is_folder: name.endswith(".log"))
    assert made.delete == ["old/deep/x", "old/y", "old/deep", "old"]


def test_deleting_clears_the_way_where_a_file_became_a_folder_or_the_reverse() -> None:
    """What has the wrong kind goes before what is sent; without leave to delete, nothing does."""
    here = [folder("to-folder"), file("to-folder/x"), file("to-file"), file("link", 2)]
    there = [file("to-folder"), folder("to-file"), file("to-file/y"), Entry("link", "link", 0, 0, 0o777, "to-folder")]
    assert plan.plan(here, there, delete=lambda name, is_folder: False).delete == ["to-file/y", "to-folder", "to-file"]
    assert plan.plan(here, there).delete == []


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 2), st.integers(0, 2)), unique_by=lambda t: t[0]))
def test_the_same_again_is_nothing(lines: list[tuple[str, int, int]]) -> None:
    """A folder against itself: nothing to send, nothing to delete."""
    entries = [file(name, size, mtime * 10**9) for name, size, mtime in lines]
    made = plan.plan(entries, entries, delete=lambda name, is_folder: False)
    assert (made.send, made.delete, made.unchanged) == ([], [], len(entries))


def test_ignore_files(tmp_path: Path) -> None:
    """.gitignore and .lecoderignore, in every folder, as git has it; .git is never sent."""
    (tmp_path / "sub").mkdir()
    (tmp_path / ".gitignore").write_text("*.log\nbuild/\n/only-top\n")
    (tmp_path / ".lecoderignore").write_text("data/\n!keep.log\n")
    (tmp_path / "sub" / ".gitignore").write_text("!again.log\nlocal\n")
    ignore = Ignore(str(tmp_path))
    expected = {
        "a.log": True,
        "keep.log": False,
        "sub/a.log": True,
        "sub/again.log": False,
        "sub/local": True,
        "local": False,
        "only-top": True,
        "sub/only-top": False,
        "train.py": False,
        ".git": True,
        "sub/.git": True,
    }
    assert {name: ignore(name, False) for name in expected} == expected
    assert ignore("build", True)
    assert not ignore("build", False)
    assert ignore.covers("data/x/y")
    assert ignore.covers("sub/build/x")
    assert not ignore.covers("sub/x")


def test_the_scan_leaves_out_what_is_ignored(tmp_path: Path) -> None:
    """An ignored folder is not even looked into."""
    (tmp_path / "skipped").mkdir()
    (tmp_path / "skipped" / "x").write_text("")
    (tmp_path / "kept").write_text("")
    (tmp_path / ".gitignore").write_text("skipped/\n")
    assert [item.name for item in plan.scan(str(tmp_path), Ignore(str(tmp_path)))] == [".gitignore", "kept"]


@pytest.mark.parametrize(
    ("spec", "parts"),
    [("out", ("out", None)), ("out:here", ("out", "here")), ("/a/b:C:\\x", ("/a/b", "C:\\x")), ("out:", ("out", None))],
)
def test_pull(spec: str, parts: tuple[str, str | None]) -> None:
    """PATH[:LOCAL], where the local path may have a drive."""
    assert plan.split_pull(spec) == parts


def test_pull_needs_a_path() -> None:
    """Without a path there is nothing to fetch."""
    with pytest.raises(errors.UsageError):
        plan.split_pull(":here")


def test_packs_are_bounded() -> None:
    """No pack has too many files or bytes; large files and what is not a file go elsewhere."""
    entries = [file(f"f{number}", 50_000) for number in range(1000)]
    entries += [file("big", plan.SMALL), Entry("pipe", "special", 0, 0, 0)]
    packs, large, skipped = plan.divide(entries)
    assert sum(map(len, packs)) == 1000
    assert all(len(pack) <= plan.PACK_FILES and sum(item.size for item in pack) <= plan.PACK_BYTES for pack in packs)
    assert ([item.name for item in large], [item.name for item in skipped]) == (["big"], ["pipe"])


def test_the_digest_of_a_folder_is_that_of_sha256sum() -> None:
    """Anybody can check it: sha256sum of the output of sha256sum."""
    assert plan.tree_digest({"b": "22", "a": "11"}) == __import__("hashlib").sha256(b"11  a\n22  b\n").hexdigest()


def test_addresses_are_no_paths() -> None:
    """Whoever asks, the command line, a program or an agent: nothing makes a folder called `gs:`."""
    for spec in ("gs://bucket/x", "out:s3://bucket/x"):
        with pytest.raises(errors.UsageError, match="is an address"):
            plan.split_pull(spec)
    with pytest.raises(errors.UsageError, match="is an address"):
        plan.clean_remote("gs://bucket/x")
    for path in ("lab:/x", "ada@host.org:~/x"):
        with pytest.raises(errors.UsageError, match="host or a session"):
            plan.clean_remote(path)
    assert plan.clean_remote("./lab:/x") == "./lab:/x"
    assert plan.split_pull("out:/tmp/x") == ("out", "/tmp/x")
    assert plan.split_pull("a:b//c") == ("a", "b//c")
