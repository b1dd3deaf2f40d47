"""The keeper as other processes see it: one detached process that keeps leased runtimes alive and ends their leases.

Every command that uses such a runtime makes sure that the keeper runs. A record names its process, and a lock that it
holds for life makes it the only one. What it does is in `keeper/`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from .. import __version__, config, errors
from ..models.base import now
from ..models.keeper import KeeperRecord
from ..system import atomic_files, logs, process_identity, redaction, waits

if TYPE_CHECKING:
    from filelock import BaseFileLock

STOP_LIMIT = 15.0  # seconds for an orderly end
POLL = 0.05
HANDED = "--settings-stdin"  # the option with which the keeper reads what nobody may see in its environment
PROGRAM = __name__.partition(".")[0]  # the package that `python -m` runs


def path(state_dir: Path) -> Path:
    """The keeper's record."""
    return state_dir / "keeper.json"


def read(state_dir: Path) -> KeeperRecord | None:
    """The record that a keeper left, alive or not; None when the last one ended in order, or the record is damaged."""
    with contextlib.suppress(OSError, atomic_files.Damaged):
        return atomic_files.decode(path(state_dir).read_bytes(), KeeperRecord)
    return None


def is_alive(record: KeeperRecord | None) -> bool:
    return record is not None and process_identity.is_same(record.pid, record.identity)


def write(state_dir: Path, record: KeeperRecord) -> None:
    atomic_files.write_atomic(path(state_dir), msgspec.json.encode(record))


def ensure(settings: config.Config, state_dir: Path, notify: Callable[[str], None]) -> None:
    """Make sure that a keeper runs. The sessions to keep must be stored already. A failure is told, and
    fails no command."""
    if settings.get("keeper").value == "off":
        return
    found = read(state_dir)
    if found is not None and is_alive(found) and found.version == __version__:
        return
    try:
        with atomic_files.lock(path(state_dir)):
            found = read(state_dir)
            if found is not None and is_alive(found):
                if found.version == __version__:
                    return
                _end(found)
            elif found is not None:
                logs.current().warn("KEEPER", "the keeper is dead", {"pid": found.pid})
                notify("the keeper, which keeps runtimes alive and ends leases, had died; it was started again")
            _start(settings, state_dir)
    except (errors.ConfigError, OSError) as error:
        notify(f"the keeper could not be started: {error}; runtimes may be lost while nobody uses them")


def _start(settings: config.Config, state_dir: Path) -> None:
    """Start a keeper and write down which process it is; the caller holds the lock."""
    where = ["--config", str(settings.config_file)] if settings.config_file is not None else []
    where += ["--profile", settings.profile.login]  # whichever is chosen meanwhile
    # 0x208: DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP, names that only Windows has
    detached: Any = {"creationflags": 0x208} if sys.platform == "win32" else {"start_new_session": True}
    shown, handed = config.keeper_environment()
    # What the user called a secret is for the run alone.
    handed = {
        name: value
        for name, value in handed.items()
        if name.startswith("LECODER_CGPU_") or not redaction.is_called_secret(value)
    }
    import subprocess

    process = subprocess.Popen(
        [sys.executable, "-m", PROGRAM, "keeper", "run", HANDED, *where],
        cwd=state_dir,
        env=shown,
        close_fds=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **detached,
    )
    logs.current().info("KEEPER", "started", {"pid": process.pid})
    write(state_dir, new_record(process.pid))
    assert process.stdin is not None
    with contextlib.suppress(OSError), process.stdin as way:  # one that has ended already is found dead later
        way.write(msgspec.json.encode(handed))
    process.returncode = 0  # it is not ours to wait for; without this, Python warns that it still runs


def take_handed() -> None:
    """In the keeper: use what its starter has written on stdin."""
    with contextlib.suppress(msgspec.DecodeError):
        config.take_environment(msgspec.json.decode(sys.stdin.buffer.read(), type=dict[str, str]))


def new_record(pid: int) -> KeeperRecord:
    return KeeperRecord(pid=pid, identity=process_identity.of(pid) or "gone", version=__version__, started=now())


def stop(state_dir: Path) -> bool:
    """End the keeper in order; False when there was none.

    One that waits to take its place (see `stops`), or whose record another one has replaced, ends, too.

    Raises:
        errors.ConfigError: the folder is unusable, or a keeper goes on.
    """
    stopped, deadline = False, time.monotonic() + 3 * STOP_LIMIT
    with atomic_files.lock(path(state_dir)):
        _stop_mark(state_dir).touch(mode=0o600)
        while True:
            found = read(state_dir)
            if found is not None and is_alive(found):
                _end(found)
                stopped = True
            path(state_dir).unlink(missing_ok=True)
            if not _is_kept(state_dir):
                return stopped
            if time.monotonic() > deadline:
                raise errors.ConfigError(
                    f"a keeper of {state_dir} goes on, and does not say which process it is",
                    hint="repeat the same command in a minute",
                )
            time.sleep(POLL)  # it writes its record again


def alone(state_dir: Path, timeout: float) -> BaseFileLock:
    """The lock that a keeper holds for life."""
    import filelock

    return filelock.FileLock(state_dir / "keeper.lock", timeout=timeout, mode=0o600)


def stops(state_dir: Path) -> int:
    """A number that is another one after each call of `stop`. No time: the clock may be set meanwhile."""
    with contextlib.suppress(OSError):
        return _stop_mark(state_dir).stat().st_mtime_ns
    return 0


def _stop_mark(state_dir: Path) -> Path:
    return state_dir / "keeper.stopped"


def _is_kept(state_dir: Path) -> bool:
    """Whether a keeper holds the lock."""
    import filelock

    try:
        with alone(state_dir, 0):
            return False
    except filelock.Timeout:
        return True


def _end(found: KeeperRecord) -> None:
    """End its process, in order if it does so in time."""
    for number, limit in ((signal.SIGTERM, STOP_LIMIT), (getattr(signal, "SIGKILL", signal.SIGTERM), STOP_LIMIT)):
        with contextlib.suppress(OSError):
            os.kill(found.pid, number)
        deadline = time.monotonic() + limit
        with waits.on("the end of another keeper"):
            while is_alive(found) and time.monotonic() < deadline:
                time.sleep(POLL)
        if not is_alive(found):
            return
