"""How state is written to disk: private folders, atomic replacement, locks that end with their holder.

Each file has one owner elsewhere (such as `store/session_store.py`); this module only knows how to write
safely: folders 0700, files 0600, temporary file + rename, damaged files set aside and never treated as empty.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from .. import errors, profiles
from . import process_identity, waits

T = TypeVar("T")

LOCK_WAIT = 10.0  # seconds that a writer waits for another process before it gives up
TURNS = 12  # times that it waits so long for others that write one after the other
WRITING = 5.0  # seconds that writing a state file takes at most: what is older and nobody's is a dead writer's
ABANDONED = 3600.0  # the same where the writer cannot be told: by versions before this one, or on another machine
LATEST = 6e10  # seconds since 1970: beyond any time or duration that a state file may hold

# What decoding a damaged file or line raises: no JSON, other JSON, no UTF-8, or nested too deeply.
DAMAGED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Damaged(ValueError):
    """The content of a state file is not what that file holds."""


def encode(document: msgspec.Struct | dict[str, str]) -> bytes:
    """A document for a state file.

    Words of a command line may hold bytes that are not UTF-8, each as half of a surrogate pair, which JSON can tell
    only as an escape; `decode` brings them back.
    """
    try:
        return msgspec.json.encode(document)
    except UnicodeEncodeError:
        import json

        return json.dumps(msgspec.to_builtins(document)).encode()


def decode(content: bytes | msgspec.Raw, kind: type[T]) -> T:
    """The content of a state file as that document.

    Raises:
        Damaged: it is something else, nested too deeply, or holds a number with which nobody can count.
    """
    try:
        if b"\\ud" in bytes(content):  # perhaps of `encode`, with half of a surrogate pair
            import json

            found = msgspec.convert(json.loads(bytes(content)), kind)
        else:
            found = msgspec.json.decode(content, type=kind)
        plain = msgspec.to_builtins(found)
    except (*DAMAGED, ValueError) as error:
        raise Damaged(str(error)) from None
    if not _countable(plain):
        raise Damaged("it holds a number beyond all times and sizes")
    return found


def _countable(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_countable, value.values()))
    if isinstance(value, list):
        return all(map(_countable, value))
    if isinstance(value, float):
        return math.isfinite(value) and abs(value) <= LATEST
    return not isinstance(value, int) or abs(value) < 1 << 53


def ensure_dir(path: Path) -> Path:
    """Create `path` (0700) with its parents, and check that it is ours and can be written.

    Raises:
        errors.ConfigError: it belongs to someone else, is not a folder, or cannot be created or written.
    """
    try:
        _make(path)
        owner = path.stat().st_uid
    except OSError as error:
        raise unusable(path, error) from error
    if hasattr(os, "getuid") and owner != os.getuid():
        raise errors.ConfigError(
            f"{path} belongs to another user (uid {owner}, you are {os.getuid()})",
            hint="set LECODER_CGPU_CONFIG_DIR to a folder of your own",
        )
    if not os.access(path, os.W_OK | os.X_OK):
        raise errors.ConfigError(f"{path} cannot be written", hint=f"chmod u+rwx {path}")
    return path


def _make(path: Path) -> None:
    """Create a folder and what is missing above it, all of it private (`mkdir -p` leaves the parents open)."""
    if not path.exists():
        _make(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def unusable(path: Path, error: OSError) -> errors.ConfigError:
    """The error for a state file or folder that the operating system refuses."""
    reason = error.strerror or str(error)
    few = error.errno in (errno.EMFILE, errno.ENFILE)
    return errors.ConfigError(
        f"{path} cannot be used: {reason}",
        hint="allow more open files, then repeat the same command: ulimit -n 1024"
        if few
        else "free some space, or set LECODER_CGPU_CONFIG_DIR to another folder",
    )


def read(path: Path) -> bytes | None:
    """The content of a state file, None if it does not exist.

    Raises:
        errors.ConfigError: it cannot be read.
    """
    try:
        return profiles.file_content(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unusable(path, error) from error


def is_replaceable(path: Path) -> bool:
    """Whether a file may be put in this place: where nothing is, or a file. A device or a pipe would be gone for
    everybody, and root may do that. Links are followed."""
    return not os.path.exists(path) or os.path.isfile(path)


def write_atomic(path: Path, content: bytes) -> None:
    """Replace `path` by `content` (0600) so that a reader sees the old file or the new one, nothing between.

    Raises:
        errors.ConfigError: the folder is read-only, full, or not ours.
    """
    ensure_dir(path.parent)
    temporary = None
    try:
        _tidy(path)
        # Its name tells whose it is, so that the next writer can remove what a killed one left.
        temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
        with open(temporary, "xb", opener=_private) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise unusable(path, error) from error


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)


def _tidy(path: Path) -> None:
    """Remove what killed writers of this file have left beside it: copies, with all that the file holds."""
    named = re.compile(rf"\.{re.escape(path.name)}\.(?:([0-9]{{1,9}})-)?[A-Za-z0-9_]{{8}}")
    for name in os.listdir(path.parent):
        found = named.fullmatch(name)
        if found is None:
            continue
        with contextlib.suppress(OSError):
            left = path.parent / name
            age = time.time() - left.lstat().st_mtime
            dead = found[1] is not None and process_identity.of(int(found[1])) is None
            if age > (WRITING if dead else ABANDONED):
                left.unlink()


def append(path: Path, line: bytes) -> None:
    """Append one complete line in a single write (O_APPEND), so that concurrent writers never interleave.

    A piece of a line that a killed writer left stays on a line of its own, so it damages no other record.

    Raises:
        errors.ConfigError: the file cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
        try:
            mode = os.fstat(descriptor).st_mode
            # The predecessor's files can be read by everybody. A device behind a link stays as everybody needs it.
            if os.name == "posix" and stat.S_ISREG(mode) and mode & 0o077:
                os.fchmod(descriptor, 0o600)
            if not _at_line_start(descriptor, os.lseek(descriptor, 0, os.SEEK_END)):
                _write(descriptor, b"\n" + line)
                return
            _write(descriptor, line)
            begin = os.lseek(descriptor, 0, os.SEEK_CUR) - len(line)
            if not _at_line_start(descriptor, begin):
                # Between our check and our write another writer was killed in the middle of its line, and ours is glued
                # to that piece. No reader can decode the two together, so writing ours again makes no duplicate.
                _write(descriptor, b"\n" + line)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise unusable(path, error) from error


def _at_line_start(descriptor: int, position: int) -> bool:
    if position <= 0:
        return True
    os.lseek(descriptor, position - 1, os.SEEK_SET)  # O_APPEND writes at the end wherever we are
    return os.read(descriptor, 1) in (b"\n", b"")


def _write(descriptor: int, content: bytes) -> None:
    written = os.write(descriptor, content)
    if written != len(content):  # a full disk cuts the line; end it, so that only this record is damaged
        with contextlib.suppress(OSError):
            os.write(descriptor, b"\n")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _written(path: Path) -> tuple[int, int] | None:
    """What tells whether a file was written since; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def guard_of(path: Path) -> Path:
    """The file that is locked for `path`; it stays when the lock is dropped."""
    return path.with_name(path.name + ".lock")


@contextlib.contextmanager
def lock(path: Path, wait: float = LOCK_WAIT, holder: str | None = None) -> Iterator[None]:
    """Hold the lock that guards `path`. The operating system drops it when its holder dies. `holder` says who may hold
    it, for those who are told of the wait. As long as others go on writing the file, it is waited for `TURNS` times as
    long: on a busy machine, chance decides whose turn it is.

    Raises:
        errors.LockHeld: others have held it for `wait` seconds. errors.ConfigError: the folder is unusable.
    """
    import filelock

    ensure_dir(path.parent)
    guard = guard_of(path)
    held = filelock.FileLock(guard, timeout=wait, mode=0o600)
    try:
        with waits.on(holder or f"another process, which holds {guard}"):
            for turns_left in reversed(range(TURNS if wait >= LOCK_WAIT else 1)):
                before = _written(path)
                try:
                    held.acquire()
                    break
                except filelock.Timeout:
                    if not turns_left or _written(path) == before:
                        raise
    except filelock.Timeout as error:
        raise errors.LockHeld(
            f"{guard} has been held by another process for {wait:g} s",
            hint="wait until the other command has ended, then repeat the same command",
            retryable=True,
        ) from error
    except OSError as error:
        raise unusable(guard, error) from error
    try:
        yield
    finally:
        held.release()


def set_aside(path: Path) -> Path:
    """Rename a damaged file, so that nothing is lost, and return its new path."""
    target = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    number = 1
    while target.exists():
        target = target.with_name(f"{target.name}.{number}")
        number += 1
    try:
        os.replace(path, target)
    except OSError as error:
        raise unusable(path, error) from error
    return target
