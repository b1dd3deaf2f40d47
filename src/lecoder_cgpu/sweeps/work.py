"""One process at work on a sweep: looks what has a result already, runs what has none, gives back what it started."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from .. import errors
from ..helper.documents import RunState
from ..runs import closing, jobs, process_runs
from . import standing as standings_of
from .claims import Claims
from .places import ENDERS, Place, base, found_jobs
from .schedule import Schedule
from .standing import LOSSES, Standing
from .store import Definition, Note, SweepFolder

if TYPE_CHECKING:
    from ..backends.protocol import RuntimeRequest
    from ..sessions.manager import SessionManager

LOOK = 2.0  # seconds between looks for what another machine executes
STARTS_WITHIN = 60.0  # seconds after which an item that another machine has claimed is given up, if no runtime has it


class Work:
    """What a process knows of a sweep, and does for it.

    Args:
        manager: is used by several threads at once, so it shows nothing. notify: told what the user should know.
    """

    def __init__(self, manager: SessionManager, sweep: SweepFolder, notify: Callable[[str], None]) -> None:
        self.manager = manager
        self.sweep = sweep
        self._notify = notify
        self.definition: Definition = sweep.definition()
        self.standings: list[Standing] = []
        self.problem: errors.Error | None = None
        self._places: list[Place] = []
        self.read()

    def read(self) -> None:
        """Take up what was noted here."""
        self.standings = list(standings_of.of(self.sweep.items(), self.sweep.notes()).values())

    # --- what the runtimes know ---

    def look(self, *, retry_failed: bool = False, keep: bool = True, adopt: bool = True) -> None:
        """Ask the sessions what became of the items without a result.

        Args:
            retry_failed: failures do not count. keep: note what is certain; else only look.
            adopt: jobs that have ended count as running, until `run` has fetched their results.
        """
        seen: dict[str, tuple[int, str, RunState]] = {}
        for name in self.definition.sessions:
            asked = [one for one in self.standings if not one.has_result or (retry_failed and one.state == "failed")]
            if not asked:
                return
            here = [one for one in asked if one.state == "running" and one.session == name]
            try:
                found = found_jobs(self.manager, self.definition, name, self.standings)
            except errors.LostError:
                self._each(here, "lost", keep, error="its runtime was lost")
            except errors.NotFoundError:  # no such session, or it has no runtime yet
                self._each(here, "killed", keep, error=f"session {name} was closed")
            except errors.Error as error:
                for one in here:
                    one.state, one.error = "unreached", error.message
                self._notify(f"{name} cannot be asked: {error.message}")
            else:
                self._compare(seen, name, found)
                for one in here:
                    if one.item.key not in found:
                        self._each([one], "void", keep)
                for one in asked:
                    if one.item.key in found:
                        attempt, state = found[one.item.key]
                        if self._is_newer(one, attempt):
                            one.attempt, one.session, one.state = attempt, name, "running"
                            self._found(one, state, retry_failed=retry_failed, adopt=adopt, keep=keep)

    def _compare(
        self, seen: dict[str, tuple[int, str, RunState]], name: str, found: Mapping[str, tuple[int, RunState]]
    ) -> None:
        """Tell of what two machines have both started. Sessions of one runtime have the same jobs."""
        for one in self.standings:
            attempt, state = found.get(one.item.key, (-1, None))
            before = seen.get(one.item.key)
            if state is None:
                continue
            if before is None or before[0] < attempt:
                seen[one.item.key] = (attempt, name, state)
            elif before[0] == attempt and (before[2].created, before[2].pid) != (state.created, state.pid):
                kept = one.session if one.has_result else before[1]
                where = f"on {before[1]} and on {name}; the result of {kept} counts"
                self._notify(f"{one.item.described()} was executed twice, {where}")

    def _each(self, affected: Sequence[Standing], state: str, keep: bool, error: str | None = None) -> None:
        for one in affected:
            note = Note(key=one.item.key, state=state, attempt=one.attempt, session=one.session, error=error)  # type: ignore[arg-type]
            if state == "lost" and one.losses + 1 >= LOSSES:
                note.error = f"{LOSSES} runtimes were lost with it"
            if keep:
                self.sweep.note(note)
            one.take(note)

    @staticmethod
    def _is_newer(one: Standing, attempt: int) -> bool:
        return attempt > one.attempt or (attempt == one.attempt and one.state in ("running", "unreached"))

    def _found(self, one: Standing, state: RunState, *, retry_failed: bool, adopt: bool, keep: bool) -> None:
        """Take up a job that a runtime has, and that is the item's last one."""
        if not state.ended:
            return
        stopped, status = process_runs.stopped_by(state), jobs.exit_status(state)
        if stopped is not None and stopped.by in ENDERS:
            one.state = "killed"
        elif retry_failed and status != 0:
            one.state = "failed"
        elif not adopt:
            note = Note(key=one.item.key, state="failed" if status else "done", attempt=one.attempt)
            note.session, note.exit = one.session, status
            note.seconds = None if state.result is None else round(state.result.seconds, 3)
            one.take(note)
            if keep and not self.definition.pull:
                self.sweep.note(note)

    # --- working ---

    def prepare(self, *, retry_failed: bool) -> None:
        """Decide what is to be run, after `look`."""
        for one in self.standings:
            if one.state == "killed" or (retry_failed and one.state == "failed"):
                one.again()

    def run(
        self,
        sessions: Sequence[str],
        count: int,
        wants: RuntimeRequest,
        tell: Callable[[Standing], None],
        *,
        starts: bool = True,
        limit: float | None = None,
        force: bool = False,
    ) -> None:
        """Run what has no result, and wait for what other machines execute.

        Args:
            sessions: those that the user has named. count: the most runtimes of its own, where none are named.
            wants: what these are to be. tell: told of each item that has ended.
            starts: whether items are started; else what runs is waited for. limit: seconds to wait at most.
            force: what another machine has claimed and not started is started here after a while.

        Raises:
            KeyboardInterrupt: what runs goes on.
        """
        end = None if limit is None else time.monotonic() + limit
        since = time.monotonic()
        while True:
            taken = self._round(sessions, count, wants, tell, starts, end)
            if not taken or self.problem is not None:
                return
            time.sleep(LOOK)
            if end is not None and time.monotonic() >= end:
                return
            self.look()
            if any(one.state != "pending" for one in taken):
                since = time.monotonic()
            elif time.monotonic() > since + STARTS_WITHIN:
                if not force:
                    self._give_up(taken)
                    return
                since = time.monotonic()
                for one in taken:
                    one.attempt += 1

    def _give_up(self, taken: Mapping[Standing, str]) -> None:
        for one, holder in taken.items():
            one.state, one.error = "unreached", f"{holder} has taken it, and no session here has it"
        self.problem = errors.RuntimeFailure(
            f"{len(taken)} items were taken by another machine, and no runtime that is known here has them",
            name="TakenElsewhere",
            hint=f"add its sessions with -s; if it does not go on, run them here: lecoder-cgpu sweep resume "
            f"{self.definition.name} --retry-failed",
        )

    def _round(
        self,
        sessions: Sequence[str],
        count: int,
        wants: RuntimeRequest,
        tell: Callable[[Standing], None],
        starts: bool,
        end: float | None,
    ) -> Mapping[Standing, str]:
        """Work until nothing more can be done; returns what other machines execute."""
        busy = {one.session for one in self.standings if one.state == "running"}
        waiting = sum(one.state == "pending" for one in self.standings) if starts else 0
        usable = list(sessions)
        if not usable and waiting:
            usable = self._own(min(count, waiting + len(busy)), wants, busy)
        usable = sorted(usable, key=lambda name: name not in busy)[: waiting + len(busy)] if waiting else []
        listening = [name for name in self.definition.sessions if name in busy and name not in usable]
        known = set(self.definition.sessions)
        self.definition.sessions += [name for name in usable if name not in known]
        self.sweep.write(self.definition)
        items = b"".join(msgspec.json.encode(one.item.values) + b"\n" for one in self.standings)
        self._places = [
            Place(
                self.manager,
                self.definition,
                self.sweep,
                name,
                own=name in self.definition.made,
                patience=wants.patience or 0.0,
                items=items,
                takes=name in usable,
            )
            for name in (*usable, *listening)
        ]
        claims = Claims(self.manager, self.sweep, self.definition, base(self.definition))
        schedule = Schedule(
            self.manager,
            self.sweep,
            self.definition,
            self.standings,
            self._places,
            claims,
            tell=tell,
            notify=self._notify,
        )
        try:
            schedule.run(None if end is None else max(end - time.monotonic(), 0.0))
        finally:
            self.problem = schedule.problem
            claims.close()
        return schedule.taken

    def _own(self, count: int, wants: RuntimeRequest, busy: Collection[str]) -> list[str]:
        """The names of sessions that are the sweep's own: those that are there, and new ones, which are stored before
        anything is asked for. None becomes the active session."""
        manager, made = self.manager, self.definition.made
        wants = manager.completed(wants)
        with manager.store.transaction() as records:
            there = [record.name for record in records if made.get(record.name) == record.id]
            names = sorted(there, key=lambda name: name not in busy)[:count]
            taken = {record.name for record in records}
            free = (name for number in itertools.count(1) if (name := f"{self.definition.name}-{number}") not in taken)
            while len(names) < count:
                record = manager.backend(manager.chosen).create(next(free), wants)
                records.append(record)
                made[record.name] = record.id
                names.append(record.name)
        return names

    def give_back(self) -> None:
        """Give the sweep's own runtimes back, but for those that have, or may have, results."""
        kept = {place.name for place in self._places if place.keeps}
        kept |= {one.session for one in self.standings if one.state in ("running", "unreached")}
        for record in self.manager.store.records():
            if self.definition.made.get(record.name) != record.id:
                continue
            if record.name in kept:
                self._notify(f"the runtime of {record.name} is kept: it may have results that were not fetched")
                continue
            try:
                closing.close(self.manager, record)
            except errors.Error as error:
                self._notify(
                    f"the runtime of session {record.name!r} may still be held: {error.message}; "
                    f"give it back: lecoder-cgpu sessions close {record.name}"
                )
