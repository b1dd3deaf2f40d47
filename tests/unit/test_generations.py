"""Generations on the disk: whole under their name, two of them, also when a commit is killed anywhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.files.generations import Generations, Line, Manifest, resolve
from lecoder_cgpu.guest.trees import FILE, FOLDER


def manifest(number: int, files: dict[str, str], *, folder: bool = True) -> Manifest:
    folders = sorted({name.rpartition("/")[0] for name in files if "/" in name})
    lines = [Line(name, FOLDER, 0, "0", 0o755, None, "") for name in folders]
    lines += [Line(name, FILE, len(content), "0", 0o644, None, "") for name, content in files.items()]
    return Manifest(owner="run", number=number, at="", path="out", folder=folder, lines=lines)


def put(store: Generations, number: int, files: dict[str, str], kept: tuple[str, ...] = ()) -> None:
    """Commit a generation that has these files; those of `kept` are those of the generation before."""
    store.begin(store.current())
    for name, content in files.items():
        path = Path(store.staging, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text("unfinished" if name in kept else content)
    store.commit(manifest(number, files), kept)


def held(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_two_generations(tmp_path: Path) -> None:
    """The newest has the name, the one before lies beside it, and deletions are carried."""
    store = Generations(tmp_path / "out")
    beside = tmp_path / ".out.lecoder-part"
    with store.alone(0.0):
        put(store, 1, {"a/1": "one", "log": "x"})
        put(store, 2, {"a/1": "one", "b": "two", "log": "xy"})
        put(store, 3, {"b": "three", "log": "xyz"})
    assert held(tmp_path / "out") == {"b": "three", "log": "xyz"}
    assert held(beside / "previous") == {"a/1": "one", "b": "two", "log": "xy"}
    found = store.current()
    assert found is not None
    assert (found.number, found.owner) == (3, "run")
    assert sorted(os.listdir(beside)) == ["current", "lock", "previous"]


def test_what_stays_as_it_was(tmp_path: Path) -> None:
    """A restless unit is that of the generation before, whatever was copied of it since."""
    store = Generations(tmp_path / "out")
    with store.alone(0.0):
        put(store, 1, {"busy": "old", "calm": "1"})
        put(store, 2, {"busy": "old", "calm": "2"}, kept=("busy",))
    assert held(tmp_path / "out") == {"busy": "old", "calm": "2"}


def test_a_staging_that_is_not_whole_is_no_generation(tmp_path: Path) -> None:
    """Half a file is refused, and the newest generation stays."""
    store = Generations(tmp_path / "out")
    with store.alone(0.0):
        put(store, 1, {"a": "whole"})
        store.begin(store.current())
        Path(store.staging, "a").unlink()
        Path(store.staging, "a").write_text("ha")
        with pytest.raises(errors.Error):
            store.commit(manifest(2, {"a": "longer"}))
    assert held(tmp_path / "out") == {"a": "whole"}


def test_what_the_user_adds_stays(tmp_path: Path) -> None:
    """Files of the user's beside those of a generation are moved along."""
    store = Generations(tmp_path / "out")
    with store.alone(0.0):
        put(store, 1, {"a/1": "one"})
        (tmp_path / "out" / "notes.txt").write_text("mine")
        (tmp_path / "out" / "a" / "plot.txt").write_text("mine, too")
        put(store, 2, {"b": "two"})
        put(store, 3, {"b": "three"})
    assert held(tmp_path / "out") == {"a/plot.txt": "mine, too", "b": "three", "notes.txt": "mine"}


def test_a_name_that_is_taken(tmp_path: Path) -> None:
    """Nothing that was not fetched so is ever replaced; a folder of the user's takes the result into it."""
    (tmp_path / "mine").mkdir()
    Generations(tmp_path / "mine").claim()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    (tmp_path / "file").write_text("x")
    for name in ("mine", "file"):
        with pytest.raises(errors.UsageError, match="is there already"):
            Generations(tmp_path / name).claim()
    with pytest.raises(errors.UsageError, match="cannot be written there"):
        Generations(tmp_path / "file" / "below" / "it").claim()
    with pytest.raises(errors.Error), Generations(tmp_path / "file" / "below").alone(0.0):
        pass  # an error of ours: whoever fetches goes on
    assert resolve(str(tmp_path / "mine"), "out") == str(tmp_path / "mine" / "out")
    assert resolve(str(tmp_path / "new"), "out") == str(tmp_path / "new")
    assert resolve(f"{tmp_path}/new/", "out") == str(tmp_path / "new" / "out")


CALLS = ("rename", "replace", "unlink", "rmdir", "mkdir", "link")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a process that can be killed anywhere")
def test_killed_anywhere(tmp_path: Path) -> None:
    """A process that dies before any change of the disk, or between two, leaves a whole generation; the next fetch goes
    on from there."""
    steps = 0
    first, second = {"a/1": "one", "b": "1"}, {"a/1": "two!", "b": "2", "c": "3"}
    while True:
        folder = tmp_path / str(steps)
        folder.mkdir()
        store = Generations(folder / "out")
        with store.alone(0.0):
            put(store, 1, {"z": "0"})
            put(store, 2, first)
        if _killed_after(steps, lambda store=store: put(store, 3, second)):
            whole = [held(folder / "out")] if (folder / "out").exists() else []
            beside = folder / ".out.lecoder-part"
            whole += [held(beside / name) for name in ("previous", "staging") if (beside / name).exists()]
            assert first in whole or second in whole, (steps, whole)
            with store.alone(0.0):
                store.recover()
                found = store.current()
                assert found is not None
                assert held(folder / "out") == (second if found.number == 3 else first), steps
                put(store, 4, {"d": "4"})
            assert held(folder / "out") == {"d": "4"}
            steps += 1
        else:
            break
    assert steps > 10


def _killed_after(steps: int, action: Any) -> bool:
    """Do something in another process, which dies instead of making one more change; False when it came to its end."""
    child = os.fork()
    if child == 0:
        left = steps

        def dying(call: Any) -> Any:
            def changed(*arguments: Any, **named: Any) -> Any:
                nonlocal left
                if left == 0:
                    os._exit(9)
                left -= 1
                return call(*arguments, **named)

            return changed

        for name in CALLS:
            setattr(os, name, dying(getattr(os, name)))
        try:
            action()
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9)
    return status == 9
