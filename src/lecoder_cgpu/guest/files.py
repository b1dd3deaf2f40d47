"""Serves the client's requests about files on the runtime.

Runs on the runtime as a part of the helper (Python 3.8 and newer, standard library only). Requests are messages of our
own type on the shell channel, with a JSON header and the content as binary buffers, so bytes travel unchanged.

Requests are served one after the other, so each is short: four megabytes, some hundred names, fifty milliseconds.
Longer work (hashing, deleting folders) is a task in a thread, and the client asks for its progress. A listing comes in
pages. Every request may be sent twice without harm, because a client whose connection drops sends it again.

A file that is being uploaded is a half-written file beside its target, `.KEY-NONCE.lecoder-part`. The key stands for
source and target, the nonce for one attempt. A later attempt takes over the half-written file of an earlier one that
has been quiet for a while. `commit` gives the file its final name.
"""

from __future__ import annotations

import builtins
import contextlib
import glob
import hashlib
import json
import os
import shutil
import threading
import time
from typing import TYPE_CHECKING, Any

from . import packs, trees
from .beneath import Beneath, permissions, umask
from .trees import Entry, Problem, problem
from .unpacker import Unpacker

BLOCK = 256 << 10  # bytes hashed at once: few enough for a processor's cache
PART_LIMIT = 8 << 20  # bytes read at once
PAGE_SECONDS = 0.05  # for one page of a listing
PAGE_LINES = 20_000
QUIET = 15.0  # seconds without a write after which a later upload may take over a half-written file
STALLED = 300.0  # seconds without growth after which the hash of a growing file fails
CLAIM_LOOKS = 20  # at a claim that another client is writing
CLAIM_LENGTH = 400  # characters that are read of one
KEEP_TASKS = 64  # and listings, and unpackers; the oldest is forgotten beyond

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .aside import Aside

    Answer = tuple[dict[str, Any], bytes | None]


class Task:
    """Work in a thread. `done` counts bytes or entries; when `ended`, either `result` or `problem` is set."""

    def __init__(self, work: Callable[[Task], Any]) -> None:
        self.done = 0
        self.result: Any = None
        self.problem: Problem | None = None
        self.ended = False
        self.cancelled = False
        self._work = work
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait(self) -> Any:
        """Wait for the end, and return the result.

        Raises:
            Problem: the work failed.
        """
        self._thread.join()
        if self.problem is not None:
            raise self.problem
        return self.result

    def _run(self) -> None:
        try:
            self.result = self._work(self)
        except Problem as error:
            self.problem = error
        except OSError as error:
            self.problem = problem(error, str(error.filename or "?"))
        except Exception as error:
            self.problem = Problem("HelperFailed", f"{type(error).__name__}: {error}")
        self.ended = True


def hash_file(path: str, size: int, task: Task, opener: Callable[[str, int], int] | None = None) -> str:
    """The SHA-256 (hex) of a file's first `size` bytes. It waits while the file is still growing up to that.

    Args:
        opener: opens it, see `open`.
    """
    digest = hashlib.sha256()
    block = memoryview(bytearray(BLOCK))
    moved = time.monotonic()
    with open(path, "rb", buffering=0, opener=opener) as file:
        while task.done < size:
            count = file.readinto(block[: min(BLOCK, size - task.done)])
            if count:
                digest.update(block[:count])
                task.done += count
                moved = time.monotonic()
            elif task.cancelled or time.monotonic() - moved > STALLED:
                raise Problem("Stalled", f"{trees.shown(path)}: it stayed shorter than it was to be")
            else:
                time.sleep(0.003)
    return digest.hexdigest()


def _hash_many(root: str, names: list[str], task: Task) -> dict[str, str]:
    digests = {}
    for name in names:
        path = trees.join(root, name)
        with contextlib.suppress(FileNotFoundError):
            digests[name] = hash_file(path, os.stat(path).st_size, Task.__new__(_Counter))
        task.done += 1
    return digests


class _Counter(Task):
    """Counts for a hash whose progress is not asked for."""

    done = 0
    cancelled = True  # the file is not growing


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for the other end of a pipe: no other request would be served meanwhile."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _remove(path: str, task: Task) -> int:
    root = Beneath(path)
    for item in list(trees.scan(path))[::-1]:
        root.delete([item.name])
        task.done += 1
    try:
        os.rmdir(path)
    except OSError as error:
        raise problem(error, path) from error
    return task.done + 1


class Files:
    """Serves requests, whose names are those of its public methods.

    Args:
        cwd: the folder that relative paths start from. aside: serves what is not to slow the work.
    """

    def __init__(self, cwd: str, aside: Aside | None = None) -> None:
        self._cwd = cwd
        self._aside = aside
        self._tasks: dict[str, Task] = {}
        self._pages: dict[str, tuple[int, list[Any], bool, Iterator[Any]]] = {}
        self._unpackers: dict[str, Unpacker] = {}
        self._written: dict[str, float] = {}  # half-written file -> when its last part came
        self._left: set[str] = set()  # half-written files whose uploads were interrupted

    def serve(self, header: Any, data: Any = None) -> builtins.list[bytes]:
        """Answer one request (a JSON header, and perhaps content) with a JSON header, and perhaps content."""
        content: bytes | None = None
        try:
            request = json.loads(bytes(header))
            method = str(request.pop("op", ""))
            if method.startswith("_") or method == "serve" or not hasattr(self, method):
                raise Problem("NoSuchCall", f"this helper has no call {method!r}")
            if data is not None:
                request["data"] = data
            answer, content = getattr(self, method)(**request)
        except Problem as error:
            answer = {"error": {"name": error.name, "message": error.message}}
        except OSError as error:
            told = problem(error, str(error.filename or "?"))
            answer = {"error": {"name": told.name, "message": told.message}}
        except Exception as error:
            answer = {"error": {"name": "HelperFailed", "message": f"{type(error).__name__}: {error}"}}
        encoded = json.dumps(answer).encode()
        return [encoded] if content is None else [encoded, content]

    def _path(self, path: str) -> str:
        if "\0" in path:
            raise Problem("UnsafeName", "a path cannot hold a NUL character")
        return os.path.normpath(os.path.join(self._cwd, os.path.expanduser(path)))

    def aside(self, key: str, request: dict[str, Any]) -> Answer:
        """Have another process serve a request at low priority; asked again under its key until it is answered."""
        return ({"refused": True}, None) if self._aside is None else self._aside.ask(key, request)

    # --- looking ---

    def stat(self, path: str) -> Answer:
        """The entry at a path, links followed, and its real path. The entry is null when nothing is there."""
        wanted = self._path(path)
        real = os.path.realpath(wanted)
        try:
            found = os.stat(real)
        except (FileNotFoundError, NotADirectoryError):
            return {"path": wanted, "real": real, "entry": None}, None
        return {"path": wanted, "real": real, "entry": trees.entry(real, os.path.basename(wanted), found, real)}, None

    def list(self, path: str) -> Answer:
        """The entries of a folder."""
        folder = self._path(path)
        lines = []
        with os.scandir(folder) as listing:
            for item in listing:
                with contextlib.suppress(FileNotFoundError):
                    lines.append(trees.entry(item.path, item.name, item.stat(follow_symlinks=False), folder))
        return {"entries": sorted(lines)}, None

    def scan(self, path: str, token: str, number: int) -> Answer:
        """Page `number` of everything below a folder."""
        folder = self._path(path)
        if not os.path.isdir(folder):
            os.listdir(folder)  # fails with the reason
        return self._page(token, number, lambda: trees.scan(folder))

    def glob(self, pattern: str, token: str, number: int) -> Answer:
        """Page `number` of the paths that match a pattern, relative if the pattern is."""
        wanted = os.path.expanduser(pattern)

        def lines() -> Iterator[Any]:
            for path in glob.iglob(os.path.join(self._cwd, wanted), recursive=True):
                with contextlib.suppress(FileNotFoundError):
                    shown = path if os.path.isabs(wanted) else os.path.relpath(path, self._cwd)
                    yield trees.entry(path, shown.replace(os.sep, "/"), os.stat(path), path)

        return self._page(token, number, lines)

    def _page(self, token: str, number: int, start: Callable[[], Iterator[Any]]) -> Answer:
        known = self._pages.get(token)
        if known is not None and known[0] == number:
            return {"entries": known[1], "end": known[2]}, None
        if known is None and number:
            raise Problem("PageLost", "the listing has to be asked for again")
        lines = start() if known is None else known[3]
        page: list[Any] = []
        end = True
        deadline = time.monotonic() + PAGE_SECONDS
        for line in lines:
            page.append(line)
            if len(page) >= PAGE_LINES or time.monotonic() > deadline:
                end = False
                break
        while len(self._pages) >= KEEP_TASKS:
            self._pages.pop(next(iter(self._pages)))
        self._pages[token] = (number, page, end, lines)
        return {"entries": page, "end": end}, None

    # --- tasks ---

    def hash(self, task: str, path: str, size: int) -> Answer:
        """Start to hash a file's first `size` bytes, which may still be coming; later, tell the progress."""
        wanted = self._path(path)
        return self._task(task, lambda self_: hash_file(wanted, size, self_))

    def digests(self, task: str, root: str, names: builtins.list[str]) -> Answer:
        """The same for many files; missing files are left out."""
        folder = self._path(root)
        return self._task(task, lambda self_: _hash_many(folder, names, self_))

    def remove(self, task: str, path: str) -> Answer:
        """Delete a folder with everything below it."""
        folder = self._path(path)
        return self._task(task, lambda self_: _remove(folder, self_))

    def _task(self, key: str, work: Callable[[Task], Any]) -> Answer:
        task = self._tasks.get(key)
        if task is None:
            while len(self._tasks) >= KEEP_TASKS:
                self._tasks.pop(next(iter(self._tasks))).cancelled = True
            task = self._tasks[key] = Task(work)
        if task.problem is not None:
            del self._tasks[key]
            raise task.problem
        return {"done": task.done, "ended": task.ended, "result": task.result}, None

    def claim(self, path: str, by: str) -> Answer:
        """Write down who takes something, unless somebody has done that; returns who has."""
        path = self._path(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            for _ in range(CLAIM_LOOKS):  # it may be written just now
                with open(path, encoding="utf-8", errors="replace") as taken:
                    holder = taken.read(CLAIM_LENGTH)
                if holder:
                    break
                time.sleep(0.05)
            return {"holder": holder}, None
        with os.fdopen(file, "w", encoding="utf-8") as fresh:
            fresh.write(by)
        return {"holder": by}, None

    # --- one large file coming ---

    def begin(self, path: str, size: int, key: str, nonce: str, root: str | None = None) -> Answer:
        """Begin or continue an upload: the path of the half-written file, and how many bytes it has already.

        With `root`, the path is a name below that folder, and a link of that name is replaced and not followed.
        """
        if root is None:
            top, name = os.path.split(os.path.realpath(self._path(path)))
        else:
            top, name = self._path(root), path
        place, last = Beneath(top).place(name, make=True)
        place.check_replaceable(last)
        folder, target = place.path, os.path.join(place.path, last)
        part = os.path.join(folder, f".{key}-{nonce}{trees.PART_SUFFIX}")
        if not os.path.exists(part):
            self._take_over(folder, key, part)
        with os.fdopen(place.open(os.path.basename(part), os.O_RDWR | os.O_CREAT), "r+b", buffering=0) as file:
            have = file.seek(0, os.SEEK_END)
            if have > size:
                have = file.truncate(0)
        if shutil.disk_usage(folder).free < size - have:
            os.unlink(part)
            raise Problem("DiskFull", f"{trees.shown(folder)}: there is no room for {size} bytes")
        self._written[part] = time.monotonic()
        return {"part": part, "path": target, "offset": have}, None

    def _take_over(self, folder: str, key: str, part: str) -> None:
        for name in os.listdir(folder):
            if not (name.startswith(f".{key}-") and name.endswith(trees.PART_SUFFIX)):
                continue
            old = os.path.join(folder, name)
            with contextlib.suppress(OSError):
                last = self._written.get(old)
                quiet = time.time() - os.stat(old).st_mtime if last is None else time.monotonic() - last
                if quiet > QUIET or old in self._left:
                    os.rename(old, part)
                    self._written.pop(old, None)
                    self._left.discard(old)
                    return

    def put(self, part: str, offset: int, data: Any) -> Answer:
        """Write a part of a half-written file. The parts before it must have been written."""
        descriptor = os.open(part, os.O_WRONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0))
        try:
            if os.fstat(descriptor).st_size < offset:
                raise Problem("PartMissing", f"a part of the file before byte {offset} is missing")
            os.lseek(descriptor, offset, os.SEEK_SET)
            trees.write_all(descriptor, data)
        finally:
            os.close(descriptor)
        self._written[part] = time.monotonic()
        return {}, None

    def commit(
        self, part: str, path: str, mode: int | None = None, mtime: int | None = None, expect: Any = None
    ) -> Answer:
        """Give a complete file its final name. With `expect` (size, mtime), only if the existing file has these."""
        if expect is not None:
            found = os.stat(path)
            if [found.st_size, found.st_mtime_ns] != expect:
                raise Problem("FileChanged", f"{trees.shown(path)}: it was changed on the runtime meanwhile")
        if not os.path.exists(part):  # an earlier request did it, and its answer was lost
            if self._written.get(part) == float("inf"):
                return {}, None
            raise Problem("PartMissing", f"{trees.shown(path)}: the half-written file is gone")
        if mode is not None:
            os.chmod(part, permissions(mode, umask() if expect is None else 0))  # an edited file keeps its own
        if mtime is not None:
            os.utime(part, ns=(mtime, mtime))
        os.replace(part, path)
        self._written[part] = float("inf")
        return {}, None

    def abandon(self, part: str) -> Answer:
        """Delete a half-written file."""
        with contextlib.suppress(FileNotFoundError):
            if part.endswith(trees.PART_SUFFIX):
                os.unlink(part)
        return {}, None

    def leave(self, part: str) -> Answer:
        """Leave a half-written file to the next upload of the same: this one was interrupted."""
        self._left.add(part)
        return {}, None

    # --- files going ---

    def get(self, path: str, offset: int, size: int) -> Answer:
        """A part of a file, with the file's current size and mtime."""
        with open(self._path(path), "rb", buffering=0, opener=_open_at_once) as file:
            trees.check_readable(file.fileno(), path)
            file.seek(offset)
            content = file.read(min(size, PART_LIMIT)) or b""
            found = os.fstat(file.fileno())
        return {"size": found.st_size, "mtime": found.st_mtime_ns}, content

    # --- many small files, and folders ---

    def pack(self, root: str, entries: builtins.list[Any]) -> Answer:
        """A pack of some files below a folder."""
        content, problems = packs.pack(self._path(root), [Entry(*line) for line in entries])
        return {"problems": problems}, content

    def unpack(self, root: str, nonce: str, data: Any = b"") -> Answer:
        """Write a pack below a folder."""
        unpacker = self._unpackers.get(nonce)
        if unpacker is None:
            while len(self._unpackers) >= KEEP_TASKS:
                self._unpackers.pop(next(iter(self._unpackers)))
            unpacker = self._unpackers[nonce] = Unpacker(self._path(root), nonce)
        files, size = unpacker(data)
        return {"files": files, "bytes": size}, None

    def delete(self, root: str, names: builtins.list[str]) -> Answer:
        """Delete files, links and empty folders below a folder."""
        folder = self._path(root)
        return {"deleted": sorted(Beneath(folder).delete(names)) if os.path.isdir(folder) else []}, None
