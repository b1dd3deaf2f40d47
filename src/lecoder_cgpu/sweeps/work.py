"""One process at work on a sweep: looks what has a result already, runs what has none, gives back what it started."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

import msgspec

from .. import errors
from ..helper.documents import RunState
from ..runs import closing, jobs, process_runs
from . import standing as standings_of
from .places import ENDERS, Place, found_jobs
from .schedule import Schedule
from .standing import LOSSES, Standing
from .store import Definition, Note, SweepFolder

if TYPE_CHECKING:
    from ..backends.protocol import RuntimeRequest
    from ..sessions.manager import SessionManager


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
        for name in self.definition.sessions:
            asked = [one for one in self.standings if not one.has_result or (retry_failed and one.state == "failed")]
            if not asked:
                return
            here = [one for one in asked if one.state == "running" and one.session == name]
            try:
                found = found_jobs(self.manager, self.definition, name, asked)
            except errors.LostError:
                self._each(here, "lost", keep, error="its runtime was lost")
            except errors.NotFoundError:  # no such session, or it has no runtime yet
                self._each(here, "killed", keep, error=f"session {name} was closed")
            except errors.Error as error:
                for one in here:
                    one.state, one.error = "unreached", error.message
                self._notify(f"{name} cannot be asked: {error.message}")
            else:
                for one in here:
                    if one.item.key not in found:
                        self._each([one], "void", keep)
                for one in asked:
                    if one.item.key in found:
                        attempt, state = found[one.item.key]
                        if self._is_newer(one, attempt):
                            one.attempt, one.session, one.state = attempt, name, "running"
                            self._found(one, state, retry_failed=retry_failed, adopt=adopt, keep=keep)

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
    ) -> None:
        """Run what has no result.

        Args:
            sessions: those that the user has named. count: the most runtimes of its own, where none are named.
            wants: what these are to be. tell: told of each item that has ended.
            starts: whether items are started; else what runs is waited for. limit: seconds to wait at most.

        Raises:
            KeyboardInterrupt: what runs goes on.
        """
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
        schedule = Schedule(
            self.manager, self.sweep, self.definition, self.standings, self._places, tell=tell, notify=self._notify
        )
        try:
            schedule.run(limit)
        finally:
            self.problem = schedule.problem

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
