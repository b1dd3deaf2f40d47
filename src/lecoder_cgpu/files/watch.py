"""Tells when something changes below a local folder, for `sync --watch`.

The system reports changes (inotify, FSEvents, ReadDirectoryChangesW; through watchfiles). Where it cannot, watchfiles
looks at the files itself. Neither sees everything: a network file system does not report what other machines change.
So whoever waits here compares the folders once in a while, too; see `LOOK_EVERY`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any

from .. import errors
from . import git_excludes
from .ignore import Ignore

LOOK_EVERY = 30.0  # seconds of silence after which the folders are compared all the same
TICK = 250  # milliseconds after which watchfiles gives us a turn
POLL = 1000  # milliseconds between two looks at all files where the system reports no changes


class Watcher:
    """Collects changes below a folder, from its creation on.

    Args:
        folder: exists.
        tell: told if the system does not report changes.
    """

    def __init__(self, folder: str, tell: Callable[[str], None]) -> None:
        self._folder = os.path.abspath(folder)
        self._ignore = Ignore(self._folder, excludes=git_excludes.of(self._folder))
        try:
            self._start(polling=None)
        except (OSError, RuntimeError) as error:  # RuntimeError is how watchfiles reports failures of its own
            tell(f"the system does not report changes ({error}); all files are looked at every second instead")
            self._start(polling=True)

    def _start(self, polling: bool | None) -> None:
        import watchfiles  # late: brings asyncio along

        self._rounds: Generator[set[Any], None, None] = watchfiles.watch(
            self._folder,
            watch_filter=self._matters,
            rust_timeout=TICK,
            yield_on_timeout=True,
            force_polling=polling,
            poll_delay_ms=POLL,
            ignore_permission_denied=True,
        )
        self._changed = bool(next(self._rounds))  # watching begins with the first turn

    def wait(self, limit: float) -> bool:
        """Return when something has changed since the last call (True), or after `limit` seconds (False).

        Raises:
            KeyboardInterrupt: the user has interrupted us.
        """
        deadline = time.monotonic() + limit
        while not self._changed and time.monotonic() < deadline:
            self._changed = bool(next(self._rounds))
        changed, self._changed = self._changed, False
        self._ignore = Ignore(
            self._folder, excludes=git_excludes.of(self._folder)
        )  # its files may be among what changed
        return changed

    def _matters(self, change: Any, path: str) -> bool:
        """Whether a change is in a file that is not ignored."""
        name = os.path.relpath(path, self._folder).replace(os.sep, "/")
        try:
            return not self._ignore.covers(name)
        except errors.Error:  # an ignore file that cannot be read: syncing says so
            return True

    def close(self) -> None:
        """Stop watching."""
        self._rounds.close()

    def __enter__(self) -> Watcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
