"""The keeper's process: does what `decisions.py` decides, and reports what came of it.

It reads the stored sessions, and ends only what a lease tells it to. It starts runtimes only for jobs that were lost
with theirs, if they may be run again (`restarts.py`). Every event and every decision is in the debug log.
"""

from __future__ import annotations

import contextlib
import os
import queue
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from msgspec import structs

from .. import config, errors
from ..files import pull_plans
from ..models.base import now as utc_now
from ..runs import job_plans
from ..sessions import keeper_process
from ..store import owners
from ..store.session_store import Store
from ..system import atomic_files, logs
from .calls import Calls
from .decisions import KeeperState, step
from .events import Action, Call, CloseSocket, End, Event, Failed, Looked, Note, Report, SetBack, Unreadable, Withdraw
from .pulls import Pulls
from .restarts import Restarts

PLACE_WAIT = 10.0  # seconds in which another keeper may end
LOOK = 1.0  # seconds between two looks whether something is due, or the stored sessions have changed
ROUND = 1800.0  # seconds that one round may take: a machine may be booted, and results fetched
NEVER = object()
CALLS = 32  # calls that may be under way at once: five for each of some six runtimes


class KeeperDaemon:
    """Keeps the sessions in `state_dir`.

    Args:
        settings: the configuration. state_dir: the folder of the stored sessions.
        interval: seconds between two pings, and between two looks at the work.
        clock: gives the Unix time.
    """

    def __init__(
        self,
        settings: config.Config,
        state_dir: Path,
        interval: float = 60.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.state_dir = state_dir
        self.interval = interval
        self.clock = clock
        self.state = KeeperState(interval=interval, heard=clock())
        self.record = keeper_process.new_record(os.getpid())
        self._store = Store(state_dir)
        # Each event with how many calls it ends: one, or none if it comes by itself.
        self._events: queue.SimpleQueue[tuple[Event, int]] = queue.SimpleQueue()
        self._calls = Calls(settings, self._store, lambda event: self._events.put((event, 0)))
        self._pulls = Pulls(settings, self._store, clock)
        self._restarts = Restarts(settings, self._store, interval, clock)
        self._calls.before_release = self._before_release
        self._pool = ThreadPoolExecutor(max_workers=CALLS)
        self._under_way = 0
        self._seen: object = NEVER  # the version of the store that was read last
        self._unreadable = ""

    def run(self) -> None:
        """Keep what is held until nothing is; returns at once when another keeper does so already."""
        with self._alone(PLACE_WAIT) as ours:
            if not ours:
                return
            logs.current().info("KEEPER", "begins", {"interval": self.interval})
            keeper_process.write(self.state_dir, self.record)
            while self.state.stage != "ended":
                self._take(min(LOOK, self.interval / 4))

    def once(self) -> bool:
        """Do one round and end, for whoever calls it again and again (cron, launchd, Task Scheduler); False when
        another keeper does all that already."""
        with self._alone(0.0) as ours:
            if not ours:
                return False
            logs.current().info("KEEPER", "does one round")
            self.tick()
            deadline = time.monotonic() + ROUND
            self._restarts.finish(deadline)
            self._pulls.finish(deadline)
            keeper_process.path(self.state_dir).unlink(missing_ok=True)
            return True

    @contextlib.contextmanager
    def _alone(self, wait: float) -> Iterator[bool]:
        """Be the only keeper in the body, and close everything after it; gives False where another one is."""
        import filelock

        atomic_files.ensure_dir(self.state_dir)
        stops = keeper_process.stops(self.state_dir)
        alone = keeper_process.alone(self.state_dir, wait)
        try:
            alone.acquire()
        except filelock.Timeout:
            logs.current().info("KEEPER", "there is another one")
            yield False
            return
        try:
            if keeper_process.stops(self.state_dir) != stops:
                logs.current().info("KEEPER", "was stopped while it waited for its place")
                yield False
                return
            yield True
        except KeyboardInterrupt:
            logs.current().info("KEEPER", "ends: told to")
            keeper_process.path(self.state_dir).unlink(missing_ok=True)
            raise
        finally:
            if self.state.stage == "ended":
                alone.release()  # what is still waited for is of no use, and the next keeper waits for this place
            self.close()
            alone.release()

    def tick(self) -> bool:
        """Do what is due now, and wait until it is done; False when the keeper has ended."""
        self._feed(None)
        while self._under_way:
            self._take(LOOK)
        self._look()
        return self.state.stage != "ended"

    def close(self) -> None:
        """Wait for the calls that are under way, then close all sockets and connections."""
        self._restarts.close()
        self._pulls.close()
        self._pool.shutdown(cancel_futures=True)
        self._calls.close()

    # --- events ---

    def _take(self, timeout: float) -> None:
        """Wait for an event, at most `timeout` seconds; then decide."""
        event = None
        with contextlib.suppress(queue.Empty):
            event, ended = self._events.get(timeout=timeout)
            self._under_way -= ended
        self._feed(event)

    def _feed(self, event: Event | None) -> None:
        """Decide upon an event, or upon the time. What the store says is always known first."""
        self._look()
        self._stay_known()
        if event is not None:
            self._log(event)
        self._step(event)

    def _look(self) -> None:
        """Read the stored sessions if they have changed, or what one of them was for is gone."""
        self._pulls.begin_due()
        self._restarts.begin_due()
        version = self._version()
        if version == self._seen:
            return
        try:
            held = self._calls.held()
        except errors.ConfigError as error:
            if error.message != self._unreadable:
                logs.current().error("KEEPER", f"the sessions cannot be read: {error.message}")
            self._unreadable = error.message
            self._step(Unreadable())
            return
        self._seen, self._unreadable = version, ""
        self._step(Looked(held, self._pulls.unfinished or self._restarts.unfinished))

    def _before_release(self, session: str) -> None:
        """What is to be known of a session's jobs before its runtime is released."""
        self._restarts.before_release(session)
        self._pulls.before_release(session)

    def _stay_known(self) -> None:
        """Write the record again if it is gone, or names a keeper that was started beside this one. The lock says which
        of them keeps, and `keeper stop` has to find it."""
        if self.state.stage != "keeping" or not self.state_dir.exists():
            return
        found = keeper_process.read(self.state_dir)
        if found is None or found.pid != self.record.pid:
            with contextlib.suppress(errors.ConfigError):
                keeper_process.write(self.state_dir, self.record)

    def _version(self) -> object:
        def changed(path: Path) -> int | None:
            with contextlib.suppress(OSError):
                return path.stat().st_mtime_ns
            return None

        folders = (pull_plans.folder(self.state_dir), job_plans.folder(self.state_dir))
        # A command that was killed writes nothing any more.
        return changed(self._store.path), *map(changed, folders), *map(owners.is_gone, self._calls.owners)

    def _log(self, event: Event) -> None:
        known = (self.state.runtimes or {}).get(getattr(event, "session", ""))
        if isinstance(event, Failed) and (known is None or known.problems.get(event.question) != event.message):
            name = known.stored.name if known is not None else "all"
            logs.current().warn("KEEPER", f"{name}: {event.question}: {event.message}")
        logs.current().debug("KEEPER", type(event).__name__, structs.asdict(event))

    # --- actions ---

    def _step(self, event: Event | None) -> None:
        self.state, actions = step(self.state, event, self.clock())
        for action in actions:
            try:
                self._do(action)
            except errors.ConfigError as error:  # a state folder that cannot be written; tried again
                logs.current().warn("KEEPER", error.message)

    def _do(self, action: Action) -> None:
        match action:
            case Note(session, lease):
                self._calls.note(session, lease)
            case SetBack(session):
                self._calls.set_back(session, self.clock())
            case CloseSocket(session):
                self._calls.close_socket(session)
            case Report(sessions):
                self.record.beat, self.record.sessions = utc_now(), list(sessions)
                keeper_process.write(self.state_dir, self.record)
            case Withdraw():
                keeper_process.path(self.state_dir).unlink(missing_ok=True)
                self._seen = NEVER  # look once more, even if nothing has changed
            case End(why):
                logs.current().info("KEEPER", f"ends: {why}")
            case _:
                self._begin(action)

    def _begin(self, call: Call) -> None:
        """Do a call in a thread; its event comes when it is done."""
        self._under_way += 1
        future = self._pool.submit(self._calls.do, call)
        future.add_done_callback(lambda done: None if done.cancelled() else self._events.put((done.result(), 1)))
