"""What every part of a `Session` stands on: which session it is, its stored record, and how it is opened for a call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from .. import errors, results
from ..runs import closing
from ..runs.jobs import Jobs
from ..sessions import operations
from ..sessions import session as runtime
from ..sessions.manager import SessionManager
from ..store.session_store import Record
from . import running
from .references import Reference

if TYPE_CHECKING:
    from ..files.commands import Storage
    from ..files.transfer import Progress
    from ..results import SessionClosed, SessionDocument, SessionRef

__all__ = ["OnBytes", "OnOutput", "SessionBase", "silent", "some"]

OnOutput = Callable[[str, str], None]
OnBytes = Callable[[str, bytes], None]


def silent(stream: str, data: bytes) -> None:
    """Nobody hears the output."""


def some(given: Sequence[object], method: str, what: str) -> None:
    """Refuse a call that names nothing.

    Raises:
        errors.UsageError
    """
    if not given:
        raise errors.BadArgument(f"Session.{method} needs {what}", hint=f"help(Session.{method}) tells what it takes")


class SessionBase:
    """The session itself. `fresh` tells whether `Client.ensure` has just got its runtime; None where nobody asked."""

    fresh: bool | None = None

    def __init__(self, client: SessionManager, record: Record, kernel_name: str | None = None) -> None:
        self._client = client
        self._record = record
        self._kernel_name = kernel_name

    def __repr__(self) -> str:
        return f"Session(name={self.name!r}, backend={self.backend!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections. The runtime is kept; `release` gives it back."""
        self._client.close()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SessionBase) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy in another process is the same session, found by its id there."""
        return type(self)._refound, (Reference.of(self._client), self.id, self._kernel_name)

    @classmethod
    def _refound(cls, reference: Reference, session_id: str, kernel_name: str | None) -> Self:
        manager = reference.manager()
        return cls(manager, manager.store.find(session_id), kernel_name)

    @property
    def id(self) -> str:
        """The session's id, which stays when it is renamed."""
        return self._record.id

    @property
    def name(self) -> str:
        """The session's name."""
        return self._record.name

    @property
    def backend(self) -> str:
        """The name of the backend that its runtime comes from."""
        return self._record.backend

    @property
    def ref(self) -> SessionRef:
        """The reference by which documents name this session."""
        return results.of(self._record.ref)

    def info(self) -> SessionDocument:
        """The session and the state of its runtime now.

        Raises:
            errors.NotFoundError: it was closed.
        """
        manager = self._client.look_anew()
        return results.of(operations.inspect(manager, manager.store.find(self.id)))

    def release(self) -> SessionClosed:
        """Give the runtime back if it is ours, so that it costs nothing any more, and forget the session. Files and
        variables on it are gone.

        Raises:
            errors.Error: the runtime could not be released; the session is kept.
        """
        record = self._client.store.find(self.id)
        try:
            return results.of(closing.close(self._client, record))
        except errors.Error as error:
            closing.explain(self._client, record, error)
            raise

    def close(self) -> SessionClosed:
        """The older name of `release`, as in `lecoder-cgpu sessions close`."""
        return self.release()

    def _hold(self) -> runtime.Session:
        """The session as it is stored now. Another process may have started a kernel or renewed a token."""
        held = self._client.look_anew().hold(self._client.store.find(self.id))
        held.wish = self._kernel_name
        held.on_send = running.sending(self)
        return held

    @contextmanager
    def _storage(self, progress: Progress | None = None) -> Iterator[Storage]:
        from ..files.commands import Storage

        with self._hold() as held, Storage(held, progress) as files:
            yield files

    @contextmanager
    def _jobs(self) -> Iterator[Jobs]:
        with self._hold() as held, Jobs(held) as found:
            yield found
