"""What the keeper does: pings, proxy tokens, one open socket while work runs, and the ends of leases.

It reads the stored sessions, never starts a runtime or a kernel, and ends only what a lease tells it to. Whatever it
cannot find out is no reason to end anything. Every decision is in the debug log.

A ping that is refused as unknown means something only if the listing agrees. What keeps a Colab runtime alive is
protocol C20 and C21: the ping and one open kernel socket, so both are done.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import UNSET, structs

from .. import config, errors
from ..backends.colab.backend import Backend
from ..backends.colab.model import Account, Assignment
from ..jupyter.messages import new_id
from ..models.base import now as utc_now
from ..models.keeper import KeptSession
from ..sessions import keeper_process
from ..sessions.session import Session
from ..store import leases
from ..store.session_store import Lease, Record, Store
from ..system import atomic_files, logs

if TYPE_CHECKING:
    from ..helper.client import Helper

LOOK = 1.0  # seconds between two looks whether the stored sessions have changed
TOKEN_MARGIN = 300.0  # seconds before its end at which a proxy token is replaced
ASKED_LIMIT = 900.0  # seconds that an allocation may be under way
SILENCE_LIMIT = 86400.0  # seconds without a word from Colab after which we give up
MARGIN_LEAST = 30.0  # seconds by which the runtime waits longer than we do before it releases itself; or two rounds
MISSES = 2  # pings in a row that find nothing before the listing is asked


@dataclass
class Kept:
    """What the keeper knows of one session. Moments are by its clock."""

    pinged: float = 0.0
    ping: str = "none yet"
    missed: int = 0
    looked: float = 0.0
    working: bool | None = None
    counted: float | None = None
    problem: str | None = None
    hold: Hold | None = None


class Hold:
    """One open kernel socket, whose messages nobody needs; they are taken so that no buffer grows."""

    def __init__(self, session: Session, kernel_id: str) -> None:
        self._socket = session.server.open_channels(kernel_id, new_id())
        self.url = session.endpoint.url
        self.alive = True
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self) -> None:
        try:
            while self.alive:
                self._socket.receive(1.0)
        except errors.Error:
            self.alive = False

    def close(self) -> None:
        self.alive = False
        self._socket.close()


class _Released(Exception):
    """The runtime was given back; nothing more is to be done for it."""


@dataclass
class Keeper:
    """Keeps the sessions in `state_dir`.

    Args:
        clock: Unix time. interval: seconds between two pings, and between two looks at the work.
    """

    settings: config.Config
    state_dir: Path
    interval: float = 60.0
    clock: Callable[[], float] = time.time
    kept: dict[str, Kept] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = Store(self.state_dir)
        self.backend = Backend(self.settings, self.state_dir)
        self.record = keeper_process.new_record(os.getpid())
        self.heard = self.clock()
        self._asked = 0.0
        self._rate: Account | None = None

    def run(self) -> None:
        """Keep what is held until nothing is; returns at once when another keeper does so already."""
        import filelock

        atomic_files.ensure_dir(self.state_dir)
        alone = filelock.FileLock(self.state_dir / "keeper.lock", timeout=10, mode=0o600)
        try:
            alone.acquire()
        except filelock.Timeout:
            logs.current().info("KEEPER", "there is another one")
            return
        try:
            self._run()
        except KeyboardInterrupt:
            logs.current().info("KEEPER", "ends: told to")
            keeper_process.path(self.state_dir).unlink(missing_ok=True)
            raise
        finally:
            self.close()
            alone.release()

    def close(self) -> None:
        """Let go of all sockets and connections."""
        for kept in self.kept.values():
            if kept.hold is not None:
                kept.hold.close()
        self.backend.close()

    def _run(self) -> None:
        logs.current().info("KEEPER", "begins", {"interval": self.interval})
        keeper_process.write(self.state_dir, self.record)
        while True:
            seen = self._version()
            held = self.tick()
            if not held or self.clock() - self.heard > SILENCE_LIMIT:
                # The record goes first: a command that finds it still there wrote its session before we look again.
                keeper_process.path(self.state_dir).unlink(missing_ok=True)
                if not self._held():
                    logs.current().info("KEEPER", "ends: nothing is held")
                    return
                if held:
                    logs.current().warn("KEEPER", "ends: no word from Colab for a day")
                    return
                continue
            self._wait(seen)

    def _wait(self, seen: object) -> None:
        """Wait until something is due, or the stored sessions change."""
        until = self.clock() + self._pause()
        while self.clock() < until and self._version() == seen:
            time.sleep(min(LOOK, max(until - self.clock(), 0.01)))

    def _pause(self) -> float:
        now = self.clock()
        ends = [self._token_due(record) - now for record in self._held()]
        return max(min([self.interval, *ends]), min(1.0, self.interval))

    def _version(self) -> object:
        with contextlib.suppress(OSError):
            return self.store.path.stat().st_mtime_ns
        return None

    def _held(self) -> list[Record]:
        try:
            records = self.store.records()
        except errors.ConfigError as error:
            logs.current().error("KEEPER", f"the sessions cannot be read: {error.message}")
            return []
        return [record for record in records if self._is_held(record)]

    def _is_held(self, record: Record) -> bool:
        if record.backend != "colab":
            return False
        if record.allocation is None:  # the predecessor's
            return record.runtime.proxy is not None
        if record.allocation.state == "asked":
            return self.clock() - (leases.moment(record.created_at) or 0.0) < ASKED_LIMIT
        if record.allocation.state == "closing":
            return record.lease is not None and record.lease.ended is not None
        return record.allocation.state in ("booting", "ready")

    # --- one round ---

    def tick(self) -> bool:
        """Do for every session what is due; False when nothing is held."""
        records = self._held()
        for gone in self.kept.keys() - {record.id for record in records}:
            kept = self.kept.pop(gone)
            if kept.hold is not None:
                kept.hold.close()
        if not records:
            return False
        account = self._account(records)
        with ThreadPoolExecutor(max_workers=8) as pool:
            list(pool.map(lambda record: self._tend(record, account), records))
        self._report(records)
        return True

    def _tend(self, record: Record, account: Account | None) -> None:
        """Do for one session what is due. One step that fails hinders no other: pings that fail must not put off the
        end of a lease."""
        kept = self.kept.setdefault(record.id, Kept())
        stage = record.allocation.state if record.allocation is not None else "ready"
        steps: list[Callable[[], None]] = [
            lambda: self._renew(record),
            lambda: self._ping(record, kept),
            lambda: self._look(record, kept, account),
            lambda: self._check_lease(record, kept),
            lambda: self._hold(record, kept),
        ]
        if stage in ("asked", "closing"):
            steps = [] if stage == "asked" else [lambda: self._retire(record)]
        problem = None
        for step in steps:
            try:
                step()
            except errors.LostError as error:
                logs.current().warn("KEEPER", f"{record.name}: {error.message}")
                return
            except _Released:
                return
            except errors.Error as error:
                problem = error.message
        if problem is not None and problem != kept.problem:
            logs.current().warn("KEEPER", f"{record.name}: {problem}")
        kept.problem = problem

    # --- keeping alive ---

    def _renew(self, record: Record) -> None:
        """Replace the proxy token in time, so that no command meets a stale one."""
        if self._token_due(record) <= self.clock():
            logs.current().info("KEEPER", f"{record.name}: the proxy token is about to end, asking for another")
            self.backend.refresh_endpoint(record, errors.AuthError("the proxy token is about to end"))
            self.heard = self.clock()

    def _ping(self, record: Record, kept: Kept) -> None:
        if self.clock() - kept.pinged < self.interval:
            return
        kept.pinged = self.clock()
        assignment = Assignment(
            endpoint=record.runtime.endpoint,
            variant=record.variant,
            accelerator=record.runtime.accelerator,
            address=record.allocation.address if record.allocation is not None else None,
        )
        try:
            known = self.backend.control_of(record).keep_alive(assignment)
        except errors.NotFoundError as error:
            kept.missed += 1
            kept.ping = f"not found ({kept.missed})"
            logs.current().info("KEEPER", f"{record.name}: the ping found no runtime", {"times": kept.missed})
            if kept.missed >= MISSES:
                self.backend.refresh_endpoint(
                    record, error
                )  # asks the listing; raises LostError when that agrees twice
                kept.missed = 0
            return
        except errors.Error as error:
            kept.ping = error.message
            raise
        self.heard = self.clock()
        kept.missed = 0
        kept.ping = "ok" if known else "this control plane has no ping"
        logs.current().debug("KEEPER", f"{record.name}: ping {kept.ping}")

    def _token_due(self, record: Record) -> float:
        """When the proxy token should be replaced. One that lives for a minute is used for half of it."""
        if record.allocation is None or record.allocation.expires is None or record.runtime.proxy is None:
            return self.clock() + self.interval
        lifetime = record.runtime.proxy.token_expires_in_seconds or 3600.0
        return record.allocation.expires - min(TOKEN_MARGIN, lifetime / 2)

    def _hold(self, record: Record, kept: Kept) -> None:
        """Hold one kernel socket exactly while work runs; over the new address when the runtime has another."""
        kernel = record.kernel or record.helper
        moved = (
            kept.hold is not None
            and record.runtime.proxy is not None
            and not kept.hold.url.startswith(record.runtime.proxy.url.rstrip("/"))
        )
        if kept.hold is not None and (not kept.working or not kept.hold.alive or moved):
            kept.hold.close()
            kept.hold = None
            logs.current().info("KEEPER", f"{record.name}: let go of the socket", {"working": kept.working})
        if kept.working and kept.hold is None and kernel is not None:
            kept.hold = Hold(self._session(record), kernel.id)
            logs.current().info("KEEPER", f"{record.name}: hold a socket while work runs")

    def _look(self, record: Record, kept: Kept, account: Account | None) -> None:
        """See whether the runtime works, and note in the lease what that means."""
        if self.clock() - kept.looked < self.interval:
            return
        kept.looked = self.clock()
        kept.working = self._working(record)
        record.lease = self._count(record, kept, leases.lease_of(record), account, self.clock())

    def _working(self, record: Record) -> bool | None:
        """Whether the kernel or a process of the user's is at work; None when that cannot be found out."""
        if record.kernel is None and record.helper is None:
            return False
        session = self._session(record)
        try:
            unfinished = False
            if record.helper is not None:
                helper = session.connect_helper()
                try:
                    self._secure(record, helper)
                    unfinished = any(not run.ended for run in helper.runs())
                finally:
                    helper.close()
            kernel = session.kernel()
            busy = kernel is not None and kernel.execution_state in ("busy", "restarting", "autorestarting")
            return busy or unfinished
        except errors.LostError:
            raise
        except errors.Error as error:
            logs.current().info("KEEPER", f"{record.name}: not known whether it works: {error.message}")
            return None
        finally:
            session.server.close()

    def _secure(self, record: Record, helper: Helper) -> None:
        """Have the runtime release itself should nobody be here to do it: this machine may sleep, or be lost.

        Every time is a sign of life, from which the runtime counts its idleness anew; and we are given a little longer
        than it takes us to act.
        """
        lease, margin = leases.lease_of(record), max(MARGIN_LEAST, 2 * self.interval)
        until = None
        if lease.max_runtime is not None:
            left = lease.began + lease.max_runtime - self.clock()
            until = datetime.now(UTC) + timedelta(seconds=left + margin)
        helper.lease(until=until, idle=None if lease.idle is None else lease.idle + margin)

    def _session(self, record: Record) -> Session:
        return Session(
            record,
            self.store,
            self.backend,
            lambda text: logs.current().info("KEEPER", text),
            lambda text: contextlib.nullcontext(),
        )

    # --- leases ---

    def _account(self, records: list[Record]) -> Account | None:
        """What the account burns, asked for once a round and only while a lease has a limit in units."""
        if not any(record.lease is not None and record.lease.max_units is not None for record in records):
            return None
        if self.clock() - self._asked >= self.interval:
            self._asked = self.clock()
            self._rate = None
            try:
                self._rate = self.backend.account()
            except errors.Error as error:
                logs.current().warn("KEEPER", f"the cost is not known now: {error.message}")
        return self._rate

    def _count(self, record: Record, kept: Kept, lease: Lease, account: Account | None, now: float) -> Lease:
        """Note work and cost in the lease. Cost is that of the whole account: it never counts too little."""
        work = now if kept.working else lease.last_work
        units = lease.units
        if kept.counted is None:
            kept.counted = now
        if account is not None and account.rate is not None:
            units += account.rate * max(now - kept.counted, 0.0) / 3600
            kept.counted = now
        counted = structs.replace(lease, last_work=work, units=units)
        if record.lease is None or counted != lease:

            def change(stored: Record) -> None:
                if stored.lease is None:
                    stored.lease = counted
                else:
                    stored.lease.last_work, stored.lease.units = counted.last_work, counted.units

            self.store.change(record.id, change)
        return counted

    def _check_lease(self, record: Record, kept: Kept) -> None:
        """Release the runtime when its lease is over; why is written down before."""
        lease = leases.lease_of(record)
        used = leases.moment(record.last_used_at)
        reason = leases.over(lease, self.clock(), working=kept.working, used=used, slack=self.interval)
        if reason is None:
            return
        why = leases.described(lease, reason)
        logs.current().info("KEEPER", f"{record.name}: release, {why}")

        def change(stored: Record) -> None:
            stored.lease = structs.replace(
                stored.lease or lease, last_work=lease.last_work, units=lease.units, ended=reason, why=why
            )

        self.store.change(record.id, change)
        self._retire(record)
        raise _Released

    def _retire(self, record: Record) -> None:
        done = self.backend.retire(record)
        self.heard = self.clock()
        logs.current().info("KEEPER", f"{record.name}: " + ("released" if done else "Colab still lists it"))

    # --- telling ---

    def _report(self, records: list[Record]) -> None:
        self.record.beat = utc_now()
        self.record.sessions = []
        for record in records:
            kept = self.kept.setdefault(record.id, Kept())
            self.record.sessions.append(
                KeptSession(
                    session=record.name,
                    endpoint=record.runtime.endpoint,
                    ping=kept.ping,
                    work="unknown" if kept.working is None else "running" if kept.working else "none",
                    socket=kept.hold is not None and kept.hold.alive,
                    problem=kept.problem or UNSET,
                )
            )
        keeper_process.write(self.state_dir, self.record)
