"""Keeps a runtime from counting as idle while something uses it that neither the keeper nor the runtime can see.

What is told, and to whom: a use is noted in the stored session, for this machine's keeper (`Session.used`), and the
helper is told, for the lease on the runtime and for keepers of other machines.

What counts: a transfer as long as it runs (`upload -` while its input comes), `sync --watch` as long as it watches;
terminals, prompts, SSH, forwarded ports and served servers as long as they are open, silent or not, which they tell
(`promise`); each call of a coding agent's tool for a session. All of that ends with the process here, and the other
limits of a lease hold nevertheless.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from .. import errors
from ..backends.protocol import Leased
from ..store import leases, rates
from ..store.session_store import Record
from ..system import logs
from ..system.periodic import every
from .session import Session


class _Used(Protocol):
    session: Session


P = ParamSpec("P")
T = TypeVar("T")
U = TypeVar("U", bound=_Used)

PATIENCE = 2.0  # seconds that the end of the body waits while the runtime is being told
LEAST, MOST = 1.0, 30.0  # seconds until the runtime is told again: a quarter of what it may be idle, within these


@contextlib.contextmanager
def in_use(session: Session, *, traffic_only: bool = False) -> Iterator[None]:
    """While the body runs, the runtime is in use. A failure to tell it so spoils nothing.

    Args:
        traffic_only: only while `session.used` is called.
    """
    if not isinstance(session.backend, Leased):
        yield
        return
    told = time.monotonic()

    def look() -> None:
        nonlocal told
        if not traffic_only:
            session.used()
        if session.used_at <= told:
            return
        try:
            stored = session.store.get(session.record.id)  # another command may have changed the limit meanwhile
            if stored is not None and time.monotonic() - told >= _pause(stored):
                told = time.monotonic()
                _tell(session, stored)
        except errors.Error as error:
            logs.current().info("SESSION", f"the runtime was not told that it is in use: {error.message}")

    with every(LEAST, look, patience=PATIENCE):
        yield


def _pause(record: Record) -> float:
    """Seconds between two times that the runtime is told."""
    idle = leases.lease_of(record).idle
    return MOST if idle is None else min(max(idle / 4, LEAST), MOST)


def promise(session: Session) -> str | None:
    """What a person is told who opens something and may forget it; None where it costs nothing."""
    if not isinstance(session.backend, Leased):
        return None
    rate = rates.read(session.store.folder).get(rates.kind(session.record))
    cost = "" if rate is None else f" ({rate:g} units an hour)"
    return f"while this is open, the runtime counts as in use{cost} and is not released as idle"


class Mentions:
    """Tells of a use that takes no time, such as a look of a coding agent: no more often than is needed, and without
    having anybody wait for it."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}  # session's id and the monotonic time

    def of(self, session: Session) -> None:
        """The session is used now. A failure to tell it so spoils nothing."""
        record, now = session.record, time.monotonic()
        if not isinstance(session.backend, Leased) or now - self._told.get(record.id, -MOST) < _pause(record):
            return
        self._told[record.id] = now

        def tell() -> None:
            try:
                session.used()
                _tell(session, record)
            except errors.Error as error:
                logs.current().info("SESSION", f"the runtime was not told that it is in use: {error.message}")

        threading.Thread(target=tell, daemon=True).start()


def counts_as_use(method: Callable[Concatenate[U, P], T]) -> Callable[Concatenate[U, P], T]:
    """A method that counts as a use of `self.session` as long as it takes."""

    @wraps(method)
    def counted(self: U, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with in_use(self.session):
            return method(self, *args, **kwargs)

    return counted


def _tell(session: Session, record: Record) -> None:
    """Tell the helper, if there is one, over a connection of its own: the others belong to the body's thread."""
    other = Session(
        record,
        session.store,
        session.backend,
        lambda text: logs.current().info("SESSION", text),
        lambda text: contextlib.nullcontext(),
    )
    if record.helper is not None and session.backend.find(record) is not None:
        with other, contextlib.closing(other.connect_helper()) as helper:
            helper.use()
