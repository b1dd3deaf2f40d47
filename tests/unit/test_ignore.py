"""Ignore files: git's rules, and nothing that a repository holds can break or hold up a sync."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lecoder_cgpu.files import git_excludes, ignore, patterns, plan
from lecoder_cgpu.files.ignore import Ignore

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
posix = pytest.mark.skipif(os.name != "posix", reason="pipes, links and names as POSIX has them")


def ignored_by_git(folder: Path, names: Sequence[str]) -> set[str]:
    """Which of these files git ignores there."""
    done = subprocess.run(
        ["git", "-c", "core.excludesFile=", "check-ignore", "--no-index", "-z", "--stdin"],
        cwd=folder, input="\0".join(names).encode("utf-8", "surrogateescape"), capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    return {name.decode("utf-8", "surrogateescape") for name in done.stdout.split(b"\0") if name}


NAMES = (
    "a/b/c", "a/b.py", "a/b/a", "b/a", "x/a/b", "x/x", "b.py", "ab", "c", "[a]", "a b", "-", "!a", "#a", "a\\b", ".h",
    "b/.h", "z",
)  # fmt: skip
piece = st.sampled_from(
    ["a", "b", "*", "**", "/", "?", "[ab]", "[!a]", "[^b]", "[a-c]", "[z-a]", "[", "]", "\\", ".py", " ", "!", "#", "c",
     "[[:alpha:]]", "[]a]", "-", ".", "x"]
)  # fmt: skip
lines = st.lists(piece, max_size=5).map("".join)


@needs_git
@posix
@settings(max_examples=20)
@given(st.lists(lines, min_size=1, max_size=4))
def test_git_says_the_same(text: list[str]) -> None:
    """Any lines made of what has a meaning: the same files are ignored as by git itself."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
        for name in NAMES:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("")
        (folder / ".gitignore").write_text("\n".join(text) + "\n")
        found = Ignore(place)
        ours = {name for name in NAMES if is_ignored(found, name)}
        assert ours == ignored_by_git(folder, NAMES), text


def is_ignored(found: Ignore, name: str) -> bool:
    """As a scan sees it: what lies in an ignored folder is never asked about."""
    parts = name.split("/")
    above = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
    return any(found(folder, True) for folder in above) or found(name, False)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("[abc", "not closed"),
        ("a\\", "backslash"),
        ("[[:nothing:]]", "unknown class"),
    ],
)
def test_a_bad_line_is_passed_over(line: str, told: str, tmp_path: Path) -> None:
    """With a notice that names file and line, once; all others count."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / ".lecoderignore").write_text(f"*.log\n{line}\n*.tmp\n")
    notices: list[str] = []
    found = Ignore(str(tmp_path), notices.append)
    assert [found(f"sub/{name}", False) for name in ("a.log", "a.tmp", "a", "z")] == [True, True, False, False]
    assert len(notices) == 1
    assert notices[0].startswith("sub/.lecoderignore, line 2: passed over")
    assert told in notices[0]


def listening(path: str) -> None:
    """Make a socket there. Its address has room for few characters."""
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path) if len(path) > 90 else path)


@posix
def test_what_is_no_ignore_file(tmp_path: Path) -> None:
    """Pipes, sockets, devices, folders, links that lead out, huge files: passed over at once; a link inside is read."""
    outside = tmp_path / "outside"
    outside.write_text("*\n")
    root = tmp_path / "root"
    makers: list[Callable[[str], object]] = [
        os.mkfifo,
        lambda path: os.symlink("/dev/zero", path),
        lambda path: os.symlink(outside, path),
        lambda path: os.symlink(".gitignore", path),
        os.mkdir,
        lambda path: Path(path).write_text("*\n" * ignore.LARGEST),
        listening,
    ]
    for number, make in enumerate(makers):
        folder = root / str(number)
        folder.mkdir(parents=True)
        make(str(folder / ".gitignore"))
        (folder / "file").write_text("")
    (root / "7").mkdir()
    (root / "7" / "rules").write_text("file\n")
    (root / "7" / ".gitignore").symlink_to("rules")
    notices: list[str] = []
    began = time.monotonic()
    found = Ignore(str(root), notices.append)
    assert [found(f"{number}/file", False) for number in range(8)] == [False] * 7 + [True]
    assert time.monotonic() - began < 5
    assert [line.partition(":")[0] for line in notices] == [f"{number}/.gitignore" for number in range(7)]


def test_patterns_that_explode(tmp_path: Path) -> None:
    """Stars without end, thousands of lines: a few milliseconds for each name."""
    (tmp_path / ".gitignore").write_text(
        "*a" * 30 + "*b\n" + "**/a/" * 30 + "b\n" + "".join(f"x{number}*y*z\n" for number in range(20_000))
    )
    notices: list[str] = []
    found = Ignore(str(tmp_path), notices.append)
    found("first", False)
    began = time.process_time()
    assert not found("a" * 250, False)
    assert not found("a/" * 100 + "a", False)
    assert time.process_time() - began < 2
    assert [line.partition(",")[0] for line in notices] == [".gitignore"]


@posix
def test_names_and_lines_in_any_bytes(tmp_path: Path) -> None:
    """Patterns and names that are no UTF-8 meet as bytes do, and every ending of a line is only one."""
    (tmp_path / ".gitignore").write_bytes(b"\xef\xbb\xbf*.log\r\ncaf\xe9*\nfile\x85name\n")
    found = Ignore(str(tmp_path))
    assert found(os.fsdecode(b"caf\xe9.txt"), False)
    assert found("a.log", False)
    assert found(os.fsdecode(b"file\x85name"), False)
    assert not found(os.fsdecode(b"caf\xe8"), False)


def test_the_scan_of_a_folder_that_means_harm(tmp_path: Path) -> None:
    """The case that held up a sync: stars, and names of one letter."""
    (tmp_path / ".lecoderignore").write_text("*a*a*a*a*a*a*a*a*a*a*a*a*a*b\n[z-a]\n")
    for number in range(20):
        (tmp_path / ("a" * 60 + str(number))).write_text("")
    began = time.process_time()
    assert len(plan.scan(str(tmp_path), Ignore(str(tmp_path)))) == 21
    assert time.process_time() - began < 1


def test_a_star_takes_as_little_as_it_can() -> None:
    """The expressions are those that never try again, and still find every match."""
    for text, name in (("*a*ab", "aab"), ("*ab*ab", "abab"), ("a*b*c", "abbc"), ("*?a", "ba"), ("**x", "x")):
        line = patterns.ignore_line(text)
        assert line is not None
        assert line.matches([name], False), text


@needs_git
@posix
def test_what_git_excludes_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The repository's own file and the user's count as for git: weaker than ignore files, in every worktree, and seen
    from a folder below."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL"):
        monkeypatch.delenv(name, raising=False)
    repository, tree = tmp_path / "repository", tmp_path / "tree"

    def git(*words: str) -> None:
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=b", *words], cwd=repository, check=True)

    (repository / "sub").mkdir(parents=True)
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "begin")
    git("worktree", "add", "-q", str(tree))
    (repository / ".git/info/exclude").write_text("local.txt\n/sub/deep.txt\nkept.txt\n")
    (tmp_path / ".config/git").mkdir(parents=True)
    (tmp_path / ".config/git/ignore").write_text("*.swp\n!local.txt\n")
    names = ["local.txt", "sub/deep.txt", "deep.txt", "x.swp", "kept.txt", "other"]
    for folder in (repository, tree):
        (folder / "sub").mkdir(exist_ok=True)
        (folder / ".gitignore").write_text("!kept.txt\n")
        found = Ignore(str(folder), excludes=git_excludes.of(str(folder)))
        assert [name for name in names if is_ignored(found, name)] == ["local.txt", "sub/deep.txt", "x.swp"]
        said = subprocess.run(["git", "check-ignore", *names], cwd=folder, capture_output=True, text=True, check=True)
        assert said.stdout.split() == ["local.txt", "sub/deep.txt", "x.swp"]
        below = Ignore(str(folder / "sub"), excludes=git_excludes.of(str(folder / "sub")))
        assert below("deep.txt", False)
    (repository / ".gitignore").write_text("*.env\n/sub/*.bin\n/deep.csv\n")
    (repository / ".git/mine").write_text("*.own\n")
    git("config", "core.excludesFile", ".git/mine")
    names = ["a.env", "x/a.env", "a.bin", "x/a.bin", "deep.csv", "a.own", "x.swp"]
    below = Ignore(str(repository / "sub"), excludes=git_excludes.of(str(repository / "sub")))
    said = subprocess.run(["git", "check-ignore", *names], cwd=repository / "sub", capture_output=True, text=True)
    ignored = [name for name in names if is_ignored(below, name)]
    assert ignored == said.stdout.split() == ["a.env", "x/a.env", "a.bin", "a.own"], "what the folders above say"
    (tmp_path / ".gitconfig").write_text("[core]\n\texcludesFile = ~/mine\n")
    (tmp_path / "mine").write_text("other\n")
    assert Ignore(str(tmp_path), excludes=git_excludes.of(str(tmp_path)))("other", False), "without a repository, too"
    monkeypatch.setenv("PATH", "")
    assert git_excludes.of(str(tmp_path)) == []
