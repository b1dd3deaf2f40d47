"""What the keeper does over the network: each call asks or does one thing for one session, and says what came of it.

Every call reads the session from the store first, so that it works with what other processes have written meanwhile.

A ping that is refused as unknown means something only if the listing agrees. What keeps a Colab runtime alive is
protocol C20 and C21: the ping and one open kernel socket, so both are done.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Literal

from msgspec import structs

from .. import errors
from ..backends import registry
from ..backends.protocol import Leased
from ..config import Config
from ..guest.limits import SAVING
from ..jupyter.messages import new_id
from ..models.base import timestamp
from ..runs import closing, records
from ..runs.jobs import Jobs
from ..sessions.session import Session
from ..store import former, leases, lifecycle, owners
from ..store.session_store import Lease, Owner, Record, Store
from ..system import logs
from .events import (
    AccountSeen,
    AskAccount,
    AskWork,
    Call,
    Event,
    Failed,
    Lost,
    OpenSocket,
    Outdated,
    Ping,
    Pinged,
    Refresh,
    Refreshed,
    Release,
    Released,
    SocketEnded,
    SocketOpened,
    StoredSession,
    WorkSeen,
)

FORMER_PACE = 600.0  # seconds between two looks for runtimes that were taken for lost and may be listed again
FORMER_LIVES = 86400.0  # seconds after a loss in which that is looked for
TOKEN_MARGIN = 300.0  # seconds before its end at which a proxy token is replaced
BUSY = ("busy", "restarting", "autorestarting")


def stored_session(record: Record, backend: Leased) -> StoredSession | None:
    """What the keeper needs to know of a stored session; None if its runtime is not held."""
    allocation, proxy, state = record.allocation, record.runtime.proxy, backend.state(record)
    # Only the predecessor's records have no allocation.
    if not lifecycle.is_held(record) or (allocation is None and proxy is None):
        return None
    abandoned = owners.is_gone(record.owner)
    stage: Literal["asked", "kept", "closing"] = state if state in ("asked", "closing") else "kept"
    due = None
    if allocation is not None and allocation.expires is not None and proxy is not None:
        # A token that lives for a minute is used for half of it.
        due = allocation.expires - min(TOKEN_MARGIN, (proxy.token_expires_in_seconds or 3600.0) / 2)
    kernel = record.kernel or record.helper
    return StoredSession(
        id=record.id,
        name=record.name,
        backend=record.backend,
        stage=stage,
        created=leases.moment(record.created_at) or 0.0,
        endpoint=record.runtime.endpoint,
        lease=record.lease,
        used=leases.moment(record.last_used_at),
        token_due=due,
        address=None if proxy is None else proxy.url.rstrip("/") + "/",
        kernel=None if kernel is None else kernel.id,
        abandoned=abandoned,
        ready=state == "ready",
        unlisted=state == "unlisted",
    )


class HeldSocket:
    """One open kernel socket. Its messages are read and thrown away, so that no buffer grows.

    Args:
        ended: called, from a thread, when the other end has closed it.
    """

    def __init__(self, session: Session, kernel_id: str, ended: Callable[[], None]) -> None:
        self._session = session
        self._socket = session.server.open_channels(kernel_id, new_id())
        self._closed = False
        self._ended = ended
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self) -> None:
        try:
            while not self._closed:
                self._socket.receive(1.0)
        except errors.Error:
            if not self._closed:
                self._ended()

    def close(self) -> None:
        """Close the socket; `ended` is not called for that."""
        self._closed = True
        self._socket.close()
        self._session.close()


class Calls:
    """Does the keeper's calls. Several may be done at once, each in a thread of its own.

    Args:
        settings: of the backends.
        tell: told of events that come by themselves: a socket that has ended.
    """

    def __init__(self, settings: Config, store: Store, tell: Callable[[Event], None]) -> None:
        self._settings = settings
        self._store = store
        self._tell = tell
        self._backends: dict[str, Leased | None] = {}
        self._sockets: dict[str, HeldSocket] = {}
        self._looked = 0.0  # Unix time of the last listing that was read for runtimes that were taken for lost
        self.owners: list[Owner] = []  # the commands that have a session of their own, when `held` was asked last
        self.before_release: Callable[[str], None] = lambda session: None  # told the session's id

    def held(self) -> tuple[StoredSession, ...]:
        """The stored sessions whose runtimes are held.

        Raises:
            errors.ConfigError: the store cannot be read.
        """
        found, records = [], self._store.records()
        self.owners = [record.owner for record in records if record.owner is not None]
        for record in records:
            backend = self._backend(record.backend)
            session = None if backend is None else stored_session(record, backend)
            if session is not None:
                found.append(session)
        return tuple(found)

    def _backend(self, name: str) -> Leased | None:
        """The backend of that name; None if its runtimes are not leased, or it cannot be loaded."""
        if name not in self._backends:
            try:
                backend = registry.load(name, self._settings, self._store.folder)
            except (errors.UsageError, errors.ConfigError) as error:
                logs.current().error("KEEPER", error.message)
                self._backends[name] = None
            else:
                self._backends[name] = backend if isinstance(backend, Leased) else None
        return self._backends[name]

    def do(self, call: Call) -> Event:
        """What came of a call. Never raises: whatever goes wrong is an event, too."""
        try:
            return self._do(call)
        except errors.LostError as error:
            logs.current().warn("KEEPER", f"{error.message}")
            return Lost(call.session, call.question)
        except errors.Error as error:
            return Failed(call.session, call.question, error.message, getattr(call, "backend", ""))
        except Exception as error:  # one call that meets something unforeseen must not end what keeps all runtimes
            logs.current().error("KEEPER", f"{call.question} failed", error=error)
            return Failed(call.session, call.question, f"{type(error).__name__}: {error}", getattr(call, "backend", ""))

    def _do(self, call: Call) -> Event:
        if isinstance(call, AskAccount):
            lender = self._backend(call.backend)
            return AccountSeen(call.backend, None if lender is None else lender.account().rate)
        record = self._store.get(call.session)
        backend = None if record is None else self._backend(record.backend)
        if record is None or backend is None:
            return Failed(call.session, call.question, "the session was closed")
        match call:
            case Refresh():
                return self._refresh(record, backend, call)
            case Ping():
                return self._ping(record, backend)
            case AskWork():
                return self._work(record, backend, call)
            case Release():
                return self._release(record, backend, call)
            case OpenSocket():
                return self._open_socket(record, backend, call.kernel)

    def _refresh(self, record: Record, backend: Leased, call: Refresh) -> Event:
        if call.question == "token":
            logs.current().info("KEEPER", f"{record.name}: the proxy token is about to end, asking for another")
            try:
                backend.refresh_endpoint(record, errors.AuthError("the proxy token is about to end"))
            except errors.Unlisted as error:
                return Failed(record.id, "token", error.message)
            return Refreshed(record.id, "token")
        if lifecycle.stage(record) == "asked":
            backend.reconcile(record)  # the command that asked may have been killed before it had the answer
            return Refreshed(record.id, "listing")
        backend.give_up(record)
        stored = self._store.get(record.id)
        if stored is not None and lifecycle.is_gone(stored):
            return Lost(record.id, "listing")
        return Refreshed(record.id, "listing")

    def _ping(self, record: Record, backend: Leased) -> Event:
        self._look_for_former(backend)
        try:
            known = backend.keep_alive(record)
        except errors.NotFoundError:
            logs.current().info("KEEPER", f"{record.name}: the ping found no runtime")
            return Pinged(record.id, "not found")
        return Pinged(record.id, "taken" if known else "not needed")

    def _look_for_former(self, backend: Leased) -> None:
        """Read the listing from time to time while a runtime that was taken for lost might be in it again."""
        now = time.time()
        if abs(now - self._looked) < FORMER_PACE:
            return
        lost = [item for item in former.read(self._store.folder) if not item.ended and now - item.since < FORMER_LIVES]
        if lost:
            self._looked = now
            with contextlib.suppress(errors.Error):
                former.seen(
                    self._store.folder,
                    backend.name,
                    None if (account := backend.holder()) is None else account.id,
                    [item.endpoint for item in backend.runtimes()],
                )

    def _work(self, record: Record, backend: Leased, call: AskWork) -> WorkSeen:
        """Whether the kernel or a process of the user's is at work, and when the runtime was last in use."""
        session = self._session(record, backend)
        try:
            unfinished, ago = False, None
            if record.helper is not None or record.kernel is None:
                # A runtime that was only created has no kernel: the helper's is what Colab sees as life.
                helper = session.connect_helper()
                try:
                    # For the runtime, this is a sign of life, too: it counts its idleness anew.
                    until = None if call.seconds is None else datetime.now(UTC) + timedelta(seconds=call.seconds)
                    lease = helper.lease(until=until, idle=call.idle)
                    ago = lease.worked_ago
                    runs = helper.runs()
                    unfinished = lease.background or any(not run.ended for run in runs)
                    records.note_ends(Jobs(session, helper), runs)
                finally:
                    helper.close()
            kernel = session.kernel()
            states = [] if kernel is None else [kernel.execution_state]
            if record.kernels:
                others = {item.id for item in record.kernels.values()}
                states += [item.execution_state for item in session.server.kernels() if item.id in others]
            return WorkSeen(record.id, unfinished or any(state in BUSY for state in states), ago)
        except errors.LostError:
            raise
        except errors.Error as error:
            logs.current().info("KEEPER", f"{record.name}: not known whether it works: {error.message}")
            return WorkSeen(record.id, None)
        finally:
            session.close()

    def _session(self, record: Record, backend: Leased) -> Session:
        return Session(
            record,
            self._store,
            backend,
            lambda text: logs.current().info("KEEPER", text),
            lambda text: contextlib.nullcontext(),
        )

    # --- leases ---

    def note(self, session: str, lease: Lease) -> None:
        """Write down the work and the cost that were seen.

        Raises:
            errors.ConfigError: the store cannot be written.
        """

        def change(stored: Record) -> None:
            if stored.lease is None:
                stored.lease = lease
            elif stored.lease.began == lease.began:
                stored.lease.last_work, stored.lease.units = lease.last_work, lease.units

        self._store.change(session, change)

    def set_back(self, session: str, now: float) -> None:
        """Let nothing of a lease, and no use, be later than now.

        Raises:
            errors.ConfigError: the store cannot be written.
        """

        def change(stored: Record) -> None:
            stored.lease = leases.not_ahead(leases.lease_of(stored), now)
            if (leases.moment(stored.last_used_at) or 0.0) > now:
                stored.last_used_at = timestamp(datetime.fromtimestamp(now, UTC))

        logs.current().info("KEEPER", "the clock was set back", {"session": session})
        self._store.change(session, change)

    def _release(self, record: Record, backend: Leased, call: Release) -> Event:
        """Give the runtime back. Why is written down before, so that a run that this ends can say so."""
        if call.reason is not None:
            why, outdated = leases.described(call.lease, call.reason), False

            def change(stored: Record) -> None:
                nonlocal outdated
                now = leases.lease_of(stored)
                outdated = _limits(now) != _limits(call.lease) or (
                    call.reason == "idle" and leases.moment(stored.last_used_at) != call.used
                )
                if not outdated:
                    ended = "idle" if call.reason == "owner" else call.reason  # what every version can read
                    stored.lease = structs.replace(
                        now, last_work=call.lease.last_work, units=call.lease.units, ended=ended, why=why
                    )

            self._store.change(record.id, change)
            if outdated:
                logs.current().info("KEEPER", f"{record.name}: not released, its limits or its use have changed")
                return Outdated(record.id)
            logs.current().info("KEEPER", f"{record.name}: release, {why}")
            # Then something may be at work, unless it is still booting, which nobody waits for here.
            if call.reason != "idle" and record.helper is not None and backend.find(record) is not None:
                closing.end_runs(self._session(record, backend), "lease", SAVING)
        if not owners.is_gone(record.owner):
            self.before_release(record.id)
        done = backend.retire(record)
        # A session that a command closed is forgotten; one that its lease ended is kept.
        if done and (record.owner is not None or call.reason is None):
            former.forget(self._store, record)
        logs.current().info("KEEPER", f"{record.name}: " + ("released" if done else "the release is not confirmed yet"))
        return Released(record.id, done)

    # --- sockets ---

    def _open_socket(self, record: Record, backend: Leased, kernel: str) -> Event:
        session = self._session(record, backend)
        try:
            self._sockets[record.id] = HeldSocket(session, kernel, lambda: self._tell(SocketEnded(record.id)))
        except errors.Error:
            session.close()
            raise
        logs.current().info("KEEPER", f"{record.name}: hold a socket while work runs")
        return SocketOpened(record.id, session.endpoint.url)

    def close_socket(self, session: str) -> None:
        """Let go of a session's socket, if one is held."""
        socket = self._sockets.pop(session, None)
        if socket is not None:
            socket.close()
            logs.current().info("KEEPER", "let go of a socket", {"session": session})

    def close(self) -> None:
        """Close all sockets and connections."""
        for session in list(self._sockets):
            self.close_socket(session)
        for backend in self._backends.values():
            if backend is not None:
                backend.close()


def _limits(lease: Lease) -> tuple[float | None, ...]:
    return lease.began, lease.idle, lease.max_runtime, lease.max_units
