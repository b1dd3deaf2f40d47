"""State files: private, replaced whole, appended line by line, and locked against other processes."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lecoder_cgpu import config, errors, profiles
from lecoder_cgpu.system import atomic_files
from tests.support.cli import Cli

POSIX = pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")


@POSIX
def test_folders_and_files_are_private(tmp_path: Path) -> None:
    """Also the folders above, and a file that was open to all before."""
    path = tmp_path / "a" / "b" / "state.json"
    atomic_files.write_atomic(path, b"1")
    assert [item.stat().st_mode & 0o777 for item in (path.parent.parent, path.parent, path)] == [0o700, 0o700, 0o600]
    path.chmod(0o644)
    atomic_files.append(path, b"2\n")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """Readers see the old content or the new one; nothing else is left in the folder."""
    path = tmp_path / "state.json"
    contents = [bytes([65 + number]) * 200_000 for number in range(20)]
    atomic_files.write_atomic(path, contents[0])
    seen: set[bytes | None] = set()
    over = threading.Event()

    def reader() -> None:
        while not over.is_set():
            seen.add(atomic_files.read(path))

    thread = threading.Thread(target=reader)
    thread.start()
    for content in contents:
        atomic_files.write_atomic(path, content)
    over.set()
    thread.join()
    assert seen <= set(contents)
    assert os.listdir(tmp_path) == ["state.json"]


def test_a_missing_file_is_none_and_a_folder_is_an_error(tmp_path: Path) -> None:
    """Absent is not unreadable."""
    assert atomic_files.read(tmp_path / "nothing") is None
    with pytest.raises(errors.ConfigError):
        atomic_files.read(tmp_path)
    with pytest.raises(errors.ConfigError):
        atomic_files.write_atomic(tmp_path, b"x")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(errors.ConfigError):
        atomic_files.ensure_dir(tmp_path / "file" / "below")


def test_a_torn_line_damages_no_other(tmp_path: Path) -> None:
    """What a killed writer left ends where the next line begins."""
    path = tmp_path / "lines"
    atomic_files.append(path, b"one\n")
    with path.open("ab") as file:
        file.write(b"tor")
    atomic_files.append(path, b"two\n")
    assert path.read_bytes().split(b"\n") == [b"one", b"tor", b"two", b""]


def test_writers_do_not_interleave(tmp_path: Path) -> None:
    """Several threads, one line each at a time."""
    path = tmp_path / "lines"

    def write(mark: int) -> None:
        for _ in range(50):
            atomic_files.append(path, bytes([mark]) * 3000 + b"\n")

    threads = [threading.Thread(target=write, args=(mark,)) for mark in b"abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Who looks while another writes may see the end of half a line, and end it: that leaves an empty line, and no more.
    lines = [line for line in path.read_bytes().splitlines() if line]
    assert sorted(lines) == sorted(bytes([mark]) * 3000 for mark in b"abcd" for _ in range(50))


def test_a_lock_ends_with_its_holder(tmp_path: Path) -> None:
    """While another process holds it, we wait and then say so; when that process is killed, it is free."""
    path = tmp_path / "state.json"
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom lecoder_cgpu.system import atomic_files\n"
        "with atomic_files.lock(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    with holder.stdout:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(errors.ConfigError) as raised, atomic_files.lock(path, wait=0.2):
            pass
        assert raised.value.retryable
        holder.kill()
        holder.wait()
    with atomic_files.lock(path, wait=20):
        pass


def test_damaged_files_are_kept_apart(tmp_path: Path) -> None:
    """Each under a name of its own."""
    kept = set()
    for content in (b"1", b"2", b"3"):
        path = tmp_path / "state.json"
        path.write_bytes(content)
        kept.add(atomic_files.set_aside(path))
        assert not path.exists()
    assert sorted(path.read_bytes() for path in kept) == [b"1", b"2", b"3"]


def test_what_fails_under_a_lock_is_no_problem_of_the_lock(tmp_path: Path) -> None:
    """Also an error that is one of the system's at the same time."""
    with pytest.raises(errors.ConnectionFailed), atomic_files.lock(tmp_path / "state.json"):
        raise errors.ConnectionFailed("the server is gone")
    with atomic_files.lock(tmp_path / "state.json", wait=0.1):
        pass


def test_a_lock_is_waited_for_while_others_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose turn it is on a busy machine is chance; a holder that does nothing is given up, and said."""
    monkeypatch.setattr(atomic_files, "LOCK_WAIT", 0.2)
    path, got = tmp_path / "file", threading.Event()

    def want() -> None:
        with atomic_files.lock(path, 0.2):
            got.set()

    with atomic_files.lock(path):
        waiting = threading.Thread(target=want, daemon=True)
        waiting.start()
        for number in range(7):
            atomic_files.write_atomic(path, str(number).encode())
            time.sleep(0.1)
        assert waiting.is_alive()
        assert not got.is_set()
    waiting.join(10)
    assert got.is_set()
    with atomic_files.lock(path), pytest.raises(errors.LockHeld), atomic_files.lock(path, 0.2):
        pass


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes have no names here")
def test_what_is_no_file_holds_nobody_up(tmp_path: Path) -> None:
    """A pipe or a device in the place of a file of ours is refused at once; a signal could not end the wait."""
    pipe, device = tmp_path / "pipe", tmp_path / "device"
    os.mkfifo(pipe)
    device.symlink_to("/dev/zero")
    for path in (pipe, device, tmp_path):
        with pytest.raises(errors.ConfigError):
            atomic_files.read(path)
        with pytest.raises(errors.ConfigError):
            config.read(path)
        with pytest.raises(errors.ConfigError):
            profiles.read(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root makes devices")
def test_devices_stay_as_they_are(cli: Cli, tmp_path: Path) -> None:
    """Whatever is written to one, root leaves its kind and its mode as everybody needs them."""
    device = tmp_path / "device"
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 7))  # as /dev/full
        device.chmod(0o666)
        device.open("rb").close()
    except PermissionError:
        pytest.skip("no devices may be made here")
    link = tmp_path / "state.jsonl"
    link.symlink_to(device)
    notebook = tmp_path / "a.ipynb"
    notebook.write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    before = device.lstat()
    for path in (device, link):
        with pytest.raises(errors.ConfigError, match="No space left"):
            atomic_files.append(path, b"line\n")
        for line in (
            ["notebook", "run", notebook, "-o", path],
            ["logs", "--html", path],
            ["logs", "--jsonl", path],
            ["logs", "--md", path],
            ["logs", "--ipynb", path],
        ):
            result = cli(*map(str, line), "--json")
            assert result.json["error"]["name"] in ("NotAFile", "FileNotWritable"), (line, result)
    after = device.lstat()
    assert (after.st_mode, after.st_rdev, after.st_ino) == (before.st_mode, before.st_rdev, before.st_ino)
    assert link.is_symlink()
