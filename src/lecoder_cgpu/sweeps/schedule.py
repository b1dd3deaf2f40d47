"""Works through the items of a sweep: one thread for each place, which does one item after the other.

What is lost with a runtime is done again by another place, or by the same one on a new runtime. An item on a runtime
that does not answer, and is not certainly gone, is left alone: it may be running there.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .. import errors
from ..net.retry import persist
from .places import Place, kill
from .standing import LOSSES, Standing
from .store import Definition, Note, SweepFolder

if TYPE_CHECKING:
    from ..sessions.manager import SessionManager
    from .claims import Claims

WAITS = 3  # attempts to see an item to its end, where the connection or a transfer fails
LEAVES = 20.0  # seconds that places which are being opened have to end, when nothing is to be started any more
LOOK = 0.3  # seconds between looks whether somebody wants it to stop


class Schedule:
    """One process's work on a sweep.

    Args:
        standings: every item. What runs already stands there as running, on the session that has it.
        places: where items are executed.
        tell: told of each item that has ended. notify: told, in a sentence, what the user should know.
    """

    def __init__(
        self,
        manager: SessionManager,
        sweep: SweepFolder,
        definition: Definition,
        standings: Sequence[Standing],
        places: Sequence[Place],
        claims: Claims,
        *,
        tell: Callable[[Standing], None],
        notify: Callable[[str], None],
    ) -> None:
        self._manager = manager
        self._sweep = sweep
        self._definition = definition
        self._standings = standings
        self._places = places
        self._claims = claims
        self.taken: dict[Standing, str] = {}  # items that other machines execute, and which
        self._tell = tell
        self._notify = notify
        self._changed = threading.Condition()
        self._queue: deque[Standing] = deque(one for one in standings if one.state == "pending")
        names = {place.name for place in places}
        self._adopted = {
            name: [one for one in standings if one.state == "running" and one.session == name] for name in names
        }
        self._working: dict[Standing, Place] = {}
        self._serving = 0
        self._stopping = False
        self._stopped_at: float | None = None
        self.problem: errors.Error | None = None  # why it could not do all of it
        self.bug: BaseException | None = None

    def run(self, limit: float | None = None) -> None:
        """Do all items, until all have results, or nothing more can be done.

        Args:
            limit: seconds after which it is left; what runs goes on.

        Raises:
            KeyboardInterrupt: the user has interrupted it; what runs goes on.
        """
        deadline = None if limit is None else time.monotonic() + limit
        with self._changed:
            self._serving = len(self._places)
        for place in self._places:
            threading.Thread(target=self._serve, args=(place,), name=f"sweep-{place.name}", daemon=True).start()
        try:
            with self._changed:
                while self._serving and not self._is_left():
                    self._changed.wait(LOOK)
                    if deadline is not None and time.monotonic() >= deadline:
                        self._stopping = True
                        return
                    if not self._stopping and self._sweep.is_to_stop():
                        self._stop()
                        self.problem = errors.RuntimeFailure(
                            "the sweep was ended by another command",
                            name="SweepKilled",
                            hint=f"lecoder-cgpu sweep resume {self._sweep.name}",
                        )
        except KeyboardInterrupt:
            self._stopping = True  # no lock: the thread that holds it may be writing to a slow disk
            raise
        if self.bug is not None:
            raise self.bug

    def _is_left(self) -> bool:
        """Whether it was stopped, and only places that are being opened are left, which may take hours."""
        return self._stopped_at is not None and not self._working and time.monotonic() > self._stopped_at + LEAVES

    def _stop(self) -> None:
        """Start nothing more, and end what runs."""
        self._stopping, self._stopped_at = True, time.monotonic()
        running = [one for one in self._working if one.state == "running"]
        self._changed.notify_all()
        if running:
            threading.Thread(target=self._end, args=(running,), daemon=True).start()

    def _end(self, running: Sequence[Standing]) -> None:
        for said in kill(self._manager, self._definition, running):
            self._notify(f"it may go on: {said}")

    # --- one place, in a thread of its own ---

    def _serve(self, place: Place) -> None:
        problem: errors.Error | None = None
        try:
            adopted = self._adopted[place.name]
            while problem is None and self._has_more(place, adopted):
                if not place.is_open:
                    place.open()
                standing = adopted.pop() if adopted else self._next(place)
                if standing is not None:
                    problem = self._do(place, standing)
        except errors.Error as error:
            problem = error
        except BaseException as error:
            self.bug = error
        self._retire(place, problem)

    def _has_more(self, place: Place, adopted: Sequence[Standing]) -> bool:
        """Wait until there is an item to do; False when there will be none. What others do now may come back."""
        with self._changed:
            if adopted or not place.takes:
                return bool(adopted) and not self._stopping
            self._changed.wait_for(lambda: self._queue or not self._busy() or self._stopping)
            return bool(self._queue) and not self._stopping

    def _busy(self) -> bool:
        """Whether something is executed, or waited for, that may come back to the queue."""
        return bool(self._working) or any(self._adopted.values())

    def _next(self, place: Place) -> Standing | None:
        """Take the next item, and note that its job is about to be started."""
        with self._changed:
            if not self._queue or self._stopping:
                return None
            standing = self._queue.popleft()
            self._working[standing] = place
        try:
            holder = self._claims.take(standing.item.key, standing.attempt + 1, place.name)
        except errors.Error:
            self._put_back(place, standing)
            if place.is_own and place.is_lost():
                self._forget(place)
                return None
            raise
        if holder is not None:
            return self._leave(place, standing, holder)
        with self._changed:
            if self._stopping:
                del self._working[standing]
                return None
            note = Note(
                key=standing.item.key,
                state="started",
                attempt=standing.attempt + 1,
                session=place.name,
                at=round(time.time(), 3),
            )
            self._take(standing, note)
        try:
            place.start(standing)
        except errors.Error as error:
            self._not_started(place, standing, error)
            return None
        return standing

    def _forget(self, place: Place) -> None:
        """The runtime of a place is gone."""
        place.forget()
        self._claims.forget(place.name)

    def _put_back(self, place: Place, standing: Standing) -> None:
        with self._changed:
            del self._working[standing]
            self._queue.appendleft(standing)
            self._changed.notify_all()

    def _leave(self, place: Place, standing: Standing, holder: str) -> Standing | None:
        """Leave an item to the machine that has claimed it. What that one executes on this runtime now is waited for
        first: a runtime does one item at a time."""
        with self._changed:
            if not self.taken:
                self._notify(f"{holder} works on this sweep, too: what it has begun is left to it")
            del self._working[standing]
            self.taken[standing] = holder
            self._changed.notify_all()
        attempts = place.run_now(self._standings)
        with self._changed:
            for one in (*self.taken, *self._queue):
                if attempts.get(one.item.key, -1) > one.attempt:
                    one.attempt, one.session, one.state = attempts[one.item.key], place.name, "running"
                    self._working[one] = place
                    self.taken.pop(one, None)
                    with contextlib.suppress(ValueError):
                        self._queue.remove(one)
                    return one
        return None

    def _not_started(self, place: Place, standing: Standing, error: errors.Error) -> None:
        """A start failed: what is lost or was refused goes back to the queue.

        Raises:
            errors.Error: the place cannot go on.
        """
        lost = place.is_lost()
        with self._changed:
            del self._working[standing]
            if lost:
                self._lost(place, standing, error)
            elif isinstance(error, errors.ConnectionFailed):  # it may run
                standing.state, place.keeps = "unreached", True
            else:
                void = Note(key=standing.item.key, state="void", attempt=standing.attempt, session=place.name)
                self._take(standing, void)
                self._queue.appendleft(standing)
            self._changed.notify_all()
        if not (lost and place.is_own):
            raise error

    def _do(self, place: Place, standing: Standing) -> errors.Error | None:
        """See an item to its end; returns why the place cannot go on."""
        with self._changed:
            self._working[standing] = place
        problem: errors.Error | None = None
        note: Note | None = None
        try:
            note = persist(lambda: place.wait(standing), again=lambda error: _may_pass(place, error), attempts=WAITS)
        except errors.Error as error:
            problem = error
        lost = problem is not None and place.is_lost()
        with self._changed:
            del self._working[standing]
            if note is not None:
                self._ended(standing, note)
            elif lost and problem is not None:
                self._lost(place, standing, problem)
                problem = None if place.is_own else problem
            else:
                standing.state = "unreached"
                place.keeps = True
                standing.error = problem.message if problem is not None else None
            self._changed.notify_all()
        return problem

    def _ended(self, standing: Standing, note: Note) -> None:
        self._take(standing, note)
        if standing.state == "failed":
            if standing.tries <= self._definition.retries and not self._stopping:
                self._notify(f"{standing.item.described()} failed ({_why(standing)}); it is run again")
                standing.state = "pending"
                self._queue.append(standing)
                return
            self._fail_fast()
        self._tell(standing)

    def _lost(self, place: Place, standing: Standing, problem: errors.Error) -> None:
        """An item's runtime is gone: it is done again, unless it took one with it before."""
        note = Note(key=standing.item.key, state="lost", attempt=standing.attempt, session=place.name)
        note.error = f"{LOSSES} runtimes were lost with it" if standing.losses + 1 >= LOSSES else problem.message
        self._take(standing, note)
        self._forget(place)
        if standing.state == "failed":
            self._fail_fast()
            self._tell(standing)
            return
        self._notify(f"the runtime of {place.name} is gone; {standing.item.described()} is done again by another one")
        self._queue.appendleft(standing)

    def _take(self, standing: Standing, note: Note) -> None:
        self._sweep.note(note)
        standing.take(note)

    def _fail_fast(self) -> None:
        if self._definition.fail_fast and not self._stopping:
            self._stop()

    def _retire(self, place: Place, problem: errors.Error | None) -> None:
        """A place ends. What waits is done by the others, if there are any."""
        with self._changed:
            self._serving -= 1
            for standing in self._adopted[place.name]:
                standing.state, place.keeps = "unreached", True
            self._adopted[place.name].clear()
            waits = bool(self._queue or self._working) and not self._stopping
            unreached = any(one.state == "unreached" for one in self._standings)
            if problem is not None and (unreached or (waits and not self._serving)):
                self.problem = problem
            self._changed.notify_all()
        if problem is not None and waits and self._serving:
            total = len(self._places)
            self._notify(f"the sweep goes on with {self._serving} of {total} runtimes: {problem.message}")
        if problem is not None and place.is_own and not place.is_open:
            with contextlib.suppress(errors.Error):
                place.give_back()


def _may_pass(place: Place, error: errors.Error) -> bool:
    """Whether what failed on the way to a runtime is worth another attempt."""
    return isinstance(error, (errors.ConnectionFailed, errors.TransferError)) and not place.is_lost()


def _why(standing: Standing) -> str:
    return standing.error or (f"exit {standing.exit}" if standing.exit is not None else "no exit status")
