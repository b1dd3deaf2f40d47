"""Who executes an item, where several machines work on one sweep at the same time: whoever claims it first.

A claim is a file on a runtime, which only one can make. A machine claims an item on every runtime of the sweep that it
knows and can ask, in an order that is the same everywhere, before it starts the item. So of two machines that have one
runtime in common, one is refused. Two that have none in common cannot know of each other.
"""

from __future__ import annotations

import contextlib
import platform
import threading
import time
import uuid
from typing import TYPE_CHECKING

from .. import errors
from ..helper.file_service import FileService
from ..system import atomic_files, logs
from .store import Definition, SweepFolder

if TYPE_CHECKING:
    from ..sessions.manager import SessionManager

SILENT = 60.0  # seconds for which a runtime that did not answer is not asked again


class Claims:
    """The claims of one machine on the items of a sweep. For use by several threads.

    Args:
        folder: of the sweep, on a runtime.
    """

    def __init__(self, manager: SessionManager, sweep: SweepFolder, definition: Definition, folder: str) -> None:
        self._manager = manager
        self._definition = definition
        self._folder = folder
        self._me = _name(sweep)
        self._lock = threading.Lock()
        self._services: dict[str, FileService] = {}
        self._stale: set[str] = set()
        self._silent: dict[str, float] = {}  # sessions that did not answer, and until when they are not asked again

    def take(self, key: str, attempt: int, name: str) -> str | None:
        """Claim an attempt at an item; returns None, or the name of the machine that has it.

        Args:
            name: of the session that is to execute it, and has to answer. Others that do not are left out.

        Raises:
            errors.Error: that session's runtime does not answer.
        """
        path = f"{self._folder}/claims/{key}.{attempt + 1}"
        with self._lock:
            for session in sorted({*self._definition.sessions, name}, key=self._place):
                try:
                    service = self._service(session)
                    holder = self._me if service is None else service.claim(path, self._me)
                except errors.Error as error:
                    self._forget(session)
                    if session == name:
                        raise
                    logs.current().warn("SWEEP", f"{session} cannot be asked for a claim: {error.message}")
                    self._silent[session] = time.monotonic() + SILENT
                    continue
                if holder != self._me:
                    name = "".join(filter(str.isprintable, holder.partition(" ")[2]))
                    return name[:64] or "another machine"
        return None

    def _place(self, session: str) -> str:
        with contextlib.suppress(errors.Error):
            return self._manager.store.find(session).runtime.endpoint
        return session

    def _service(self, session: str) -> FileService | None:
        """The files of a session's runtime; None where there is none, or it did not answer before."""
        if session in self._stale:
            self._stale.discard(session)
            self._forget(session)
        if session in self._services:
            return self._services[session]
        if time.monotonic() < self._silent.get(session, 0.0):
            return None
        held = self._manager.hold(self._manager.store.find(session))
        if held.backend.find(held.record) is None:
            return None
        service = FileService(lambda cause: held.connect_helper())
        service.open()
        self._services[session] = service
        return service

    def forget(self, session: str) -> None:
        """Connect anew before the next claim: the session has, or gets, another runtime."""
        self._stale.add(session)  # without the lock: a claim may be waiting for an answer

    def _forget(self, session: str) -> None:
        service = self._services.pop(session, None)
        if service is not None:
            service.close()

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            for session in list(self._services):
                self._forget(session)


def _name(sweep: SweepFolder) -> str:
    """How this machine is called in its claims: unlike every other, and the same when it works on the sweep again."""
    path = sweep.path / "claimant"
    known = atomic_files.read(path)
    if known is None:
        known = f"{uuid.uuid4().hex} {platform.node()}".encode()
        atomic_files.write_atomic(path, known)
    return known.decode("utf-8", "replace")
