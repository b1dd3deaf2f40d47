"""What a runtime copies by itself (`--push`): whole files, the newest last, and what is wrong is told."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.guest import pushed_files
from lecoder_cgpu.guest.pushes import Push, Pusher
from lecoder_cgpu.runs import pushed

FOREVER = float("inf")


def content(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def write(path: Path, text: str, age: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (time.time() - age, time.time() - age))


def test_new_changed_and_deleted_files(tmp_path: Path) -> None:
    """A second round copies what is new, and deletes what is gone, but nothing that lay there before."""
    source, target = tmp_path / "out", tmp_path / "drive" / "out"
    write(source / "c1" / "weights", "one", 100)
    write(source / "latest", "c1", 90)
    write(target / "mine.txt", "mine", 0)
    push = Push(str(source), str(target))
    push.copy(FOREVER)
    assert content(target) == {"c1/weights": "one", "latest": "c1", "mine.txt": "mine"}
    assert (target / "latest").stat().st_mtime_ns == (source / "latest").stat().st_mtime_ns
    untouched = (target / "latest").stat().st_ino
    write(source / "c2" / "weights", "two", 50)
    (source / "c1" / "weights").unlink()
    (source / "c1").rmdir()
    push.copy(FOREVER)
    assert content(target) == {"c2/weights": "two", "latest": "c1", "mine.txt": "mine"}
    assert not (target / "c1").exists()
    assert (target / "latest").stat().st_ino == untouched
    note = push.note()
    assert (note["files"], note["bytes"], "problem" in note, "completeAt" in note) == (2, 5, False, True)


def test_what_was_written_last_is_copied_last(tmp_path: Path) -> None:
    """A pointer never leads to what is not there yet, wherever the copy is cut off."""
    source, target = tmp_path / "out", tmp_path / "to"
    write(source / "a-pointer", "c1", 10)
    for number in range(5):
        write(source / "z" / str(number), "x", 100 - number)
    push = Push(str(source), str(target))
    push.copy(time.monotonic() - 1)
    assert (push.problem, content(target)) == ("there was no more time", {})
    (target / "a-pointer").mkdir(parents=True)  # which refuses to be replaced: the copy stops there
    push.copy(FOREVER)
    assert push.problem is not None
    assert sorted(content(target)) == [f"z/{number}" for number in range(5)]


def test_a_file_that_changes_waits_for_the_next_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what grows while it is copied, nothing half is there; the rest is."""
    source, target = tmp_path / "out", tmp_path / "to"
    write(source / "still", "1", 50)
    write(source / "log", "begun", 0)

    listed = pushed_files.listing

    def meanwhile(place: str) -> dict[str, tuple[int, int]]:
        found = listed(place)
        write(source / "log", "begun, and gone on", 0)
        return found

    monkeypatch.setattr(pushed_files, "listing", meanwhile)
    push = Push(str(source), str(target))
    push.copy(FOREVER)
    assert (push.restless, push.at) == (["log"], None)
    assert content(target) == {"still": "1"}
    monkeypatch.undo()
    again = Push(str(source), str(target))
    again.copy(FOREVER)
    assert again.restless == []
    assert content(target) == content(source)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are POSIX")
def test_links_and_special_files_are_left_out(tmp_path: Path) -> None:
    """What a link leads to may be anywhere, and a pipe never ends."""
    source, target = tmp_path / "out", tmp_path / "to"
    write(source / "file", "1", 0)
    write(tmp_path / "secret", "s", 0)
    (source / "link").symlink_to(tmp_path / "secret")
    (source / "loop").symlink_to(source)
    os.mkfifo(source / "pipe")
    push = Push(str(source), str(target))
    push.copy(FOREVER)
    assert (content(target), push.problem) == ({"file": "1"}, None)


def test_the_end_of_a_run(tmp_path: Path) -> None:
    """A last copy, and beside it how the run ended; one that fails, or that has nothing to copy, says why."""
    (tmp_path / "run").mkdir()
    write(tmp_path / "out" / "model", "m", 0)
    wanted = [["out", "to"], ["missing", "empty"], ["out/model", "single"], ["out", str(tmp_path / "file" / "x")]]
    write(tmp_path / "file", "no folder", 0)
    pusher = Pusher(str(tmp_path / "run"), str(tmp_path), wanted, 300)
    notes = pusher.finish({"run": "run-1", "exit": 3})
    done = json.loads((tmp_path / "to" / pushed_files.DONE).read_text())
    assert (done["run"], done["exit"], done["files"]) == ("run-1", 3, 1)
    assert (tmp_path / "single" / "model").read_text() == "m"
    assert ["problem" in note for note in notes] == [False, True, False, True]
    assert json.loads((tmp_path / "run" / "pushes.json").read_text())["pushes"] == notes


def test_copies_at_an_interval(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    write(tmp_path / "out" / "a", "1", 0)
    over = threading.Event()
    Pusher(str(tmp_path / "run"), str(tmp_path), [["out", "to"]], 0.05).start(over)
    deadline = time.monotonic() + 20
    while not (tmp_path / "to" / "a").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    over.set()


@pytest.mark.parametrize(
    "spec",
    [
        "out",
        "out:",
        ":there",
        "out:out/copy",
        "s3://b/x:y",
        "out:s3://b/x",
        "out:.",
        "out:hf://",
        "out:hf://model",
        "out:hf://me/",
        "out:hf://datasets/me",
        "out:hf://buckets/me/x",
        "out:hf://me/mo del",
        "out:hf://me/a..b",
        "out:hf://me/m@",
        "out:hf://me/m@a..b",
        "out:hf://me/m/../x",
        "out:hf://me/m//x",
        "out:hf://me/m.git",
        "out:hf://user:hf_abcdef@me/m",
    ],
)
def test_what_is_no_push(spec: str) -> None:
    with pytest.raises(errors.UsageError):
        pushed.declared([spec])


def test_a_push() -> None:
    assert pushed.declared(["out:/content/drive/MyDrive/a b"]) == [("out", "/content/drive/MyDrive/a b")]
    for target in ("hf://me/model", "hf://datasets/me/set@run-1/a/b c", "hf://spaces/me-2/x_y.z"):
        assert pushed.declared([f"out:{target}"]) == [("out", target)]


def test_what_a_hub_needs() -> None:
    """A token that is given as a secret, and time between two commits."""
    pushes = pushed.declared(["out:hf://me/model", "out:/there"])
    pushed.check(pushes, ["HF_TOKEN"], None)
    pushed.check(pushes[1:], [], 1.0)
    for secrets, every in (([], None), (["HF_TOKEN"], 30.0)):
        with pytest.raises(errors.UsageError):
            pushed.check(pushes, secrets, every)
