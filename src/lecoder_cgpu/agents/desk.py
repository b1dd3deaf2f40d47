"""One call of a tool, and what the server remembers between calls."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .. import errors
from ..api.client import Client
from ..api.session import Session
from ..sessions.activity import Mentions
from .places import Places


@dataclass
class Desk:
    """What the server remembers between calls: the session that it uses, whatever other programs make the active one,
    and where the notebooks go that were started."""

    session: str | None = None
    notebooks: dict[str, str] = field(default_factory=dict)
    mentions: Mentions = field(default_factory=Mentions)


@dataclass
class Call:
    """One call of a tool: takes its images and progress, and can be cancelled. `places`: the files here that it may
    touch. `begun`: called once its work was handed over, so that the next call may begin."""

    client: Client
    places: Places = field(default_factory=Places)
    desk: Desk = field(default_factory=Desk)
    begun: Callable[[], None] = lambda: None
    images: list[tuple[str, bytes]] = field(default_factory=list)  # media type, content
    latest: str = ""  # the last line of output so far
    stop: Callable[[], Any] | None = None  # ends the remote work
    cancelled: threading.Event = field(default_factory=threading.Event)
    _done: list[int] = field(default_factory=lambda: [0, 0])  # files and bytes of a transfer

    def session(self, name: str | None) -> Session:
        """The session of that name, else the one that this server uses, else the active one, which it uses from then
        on. Its runtime counts as in use, whatever is asked of it.

        Raises:
            errors.NotFoundError: it was closed. errors.Error: see `Client.session`.
        """
        if name is None and self.desk.session is not None:
            try:
                self.client._client.store.find(self.desk.session)
            except errors.NotFoundError:
                raise errors.NotFoundError(
                    "the session that was used so far is closed",
                    name="SessionNotFound",
                    hint="name another one; all of them: lecoder-cgpu sessions list",
                ) from None
        found = self.client.session(name or self.desk.session)
        self.desk.session = self.desk.session or found.id
        self.desk.mentions.of(found._hold())
        return found

    def cancel(self) -> None:
        """End the remote work. May be called from another thread, at any time."""
        self.cancelled.set()
        self.begun()
        if self.stop is not None:
            self.stop()

    def stoppable(self, stop: Callable[[], Any]) -> None:
        """Set what ends the work that begins now; it is called at once if the call was cancelled already."""
        self.stop = stop
        if self.cancelled.is_set():
            stop()

    def see(self, text: str) -> None:
        """Note the last line of a printed text."""
        lines = text.strip().splitlines()
        if lines:
            self.latest = lines[-1][:200]

    def see_bytes(self, stream: str, data: bytes) -> None:
        """The same, of what a process has written."""
        self.see(data.decode("utf-8", "replace"))

    def transferred(self, files: int, size: int) -> None:
        """Note how far a transfer has come, and end it if the call was cancelled."""
        if self.cancelled.is_set():
            raise KeyboardInterrupt
        self._done = [self._done[0] + files, self._done[1] + size]
        self.latest = f"{self._done[0]} files, {self._done[1]:,} bytes"
