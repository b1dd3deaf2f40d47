"""What the commands `sweep …` do: the checks before anything starts, and what is told while it goes on."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from .. import errors
from ..models.base import ErrorInfo
from ..models.base import now as utc_now
from ..sessions import free_tier as terms
from ..sweeps import code, elsewhere, identity, places, store, template
from ..sweeps import grid as grids
from ..sweeps import standing as standings_of
from ..sweeps.identity import Identity
from ..sweeps.joblog import JobLog
from ..sweeps.standing import Standing
from ..sweeps.store import Definition, SweepFolder
from ..sweeps.work import Work
from . import free_tier, missing_scripts, runtime_options, sweep_text, work_files
from .app import App
from .output import Answer

if TYPE_CHECKING:
    from ..models.sweeps import SweepDocument
    from ..sessions.manager import SessionManager

LOOK = 0.5  # seconds between looks at what another process does
STOPS_WITHIN = 60.0  # seconds in which another process ends its jobs
# The options with which a sweep's own runtimes are started, by the names of their values.
KINDS = (
    "gpu", "tpu", "cpu", "high_ram", "wait_for_capacity", "idle_release", "max_runtime", "max_units", "server_profile",
    "server_option",
)  # fmt: skip

UNSAID = {"cpu": False, "high_ram": False, "server_option": ()}  # the values of those that are no text


class Sweep:
    """One command about a sweep.

    Args:
        options: of the command line, by name.
    """

    def __init__(self, app: App, options: dict[str, Any]) -> None:
        self.app = app
        self.printer = app.printer
        self.options = options
        self._lock = threading.Lock()

    def manager(self, backend: str | None) -> SessionManager:
        """One for several threads: it shows nothing that moves, and asks nobody."""
        from ..sessions.manager import SessionManager

        chosen = self.app.config.fixed()
        if backend is not None:
            chosen.options["backend"] = backend
        return SessionManager(
            chosen, notify=self.notify, announce=self._announce if self.printer.shows_a_person else None
        )

    def _announce(self, text: str) -> None:
        with self._lock:
            self.printer.note(text)

    def notify(self, text: str) -> None:
        with self._lock:
            self.printer.notify(text)

    # --- start ---

    def start(self, words: list[str], *, separated: bool) -> Answer:
        """Check everything, tell what the values are, and run what has no result."""
        options = self.options
        if not separated or not any(word.strip() for word in words):
            raise errors.UsageError(
                "there is no command to run", hint="it stands behind --: sweep -p seed=0..4 -- python train.py {seed}"
            )
        grid = self._grid(words)
        sessions, count = self._where()
        backend = None if sessions else self.app.client.chosen
        wants = runtime_options.wants(options)
        if not sessions:
            wants = self.app.client.completed(wants)
        request = {} if sessions else {"--backend": backend, **dict.fromkeys(wants.options, "")}
        work_files.check(options["sync"], ())
        if backend is not None and self.app.client.leased(backend) is not None:
            missing_scripts.check(words, options["sync"], sweep=True)
        folder = None if options["sync"] is None else os.path.abspath(os.path.expanduser(options["sync"]))
        own = None if folder is None else code.outputs(folder, os.getcwd(), options["pull"], options["joblog"])
        sent = None if folder is None else code.snapshot(folder, own, self.notify)
        made = Identity(command=words, code=sent, request=request)
        name = options["name"] or f"sweep-{made.id[:8]}"
        store.check(name)
        sweep = SweepFolder(self.app.client.state_dir, name)
        known = sweep.definition() if sweep.exists else None
        if known is not None:
            identity.check_same(name, known.identity, made)
        definition = Definition(
            name=name,
            identity=made,
            folder=folder,
            here=os.getcwd(),
            pull=list(options["pull"]),
            own=None if sessions else count,
            backend=backend,
            options={} if sessions else {key: options[key] for key in KINDS if options[key]},
            sessions=list(dict.fromkeys([*(known.sessions if known is not None else ()), *sessions])),
            made={} if known is None else known.made,
            retries=options["retries"],
            fail_fast=options["fail_fast"],
            created=utc_now() if known is None else known.created,
        )
        if options["dry_run"]:
            standings = list(standings_of.of(grid, ()).values())
            document = sweep_text.document(sweep, definition, standings, grid)
            document.status, document.exit_code, document.next, document.dry_run = "ok", 0, UNSET, True
            document.notice = self.printer.notice or UNSET
            return Answer(document, lambda: sweep_text.commands(document))
        with sweep.working():
            if folder is not None:
                code.keep(folder, sweep.path, own)
            sweep.write(definition)
            fresh = sweep.add(grid)
            if known is not None:
                self.printer.note(f"{name} is there already; new items: {fresh}")
            return self._go_on(sweep, sessions, count)

    def _grid(self, words: list[str]) -> grids.Grid:
        """The items, checked and told."""
        options = self.options
        grid = grids.make(options["parameters"], options["file"])
        texts = [*words, *options["pull"]]
        template.check(texts, grid.names)
        for parameter in grid.parameters:
            self.printer.note(parameter.expansion())
        if grid.lines:
            self.printer.note(f"{options['file']}: {len(grid.lines)} lines with {', '.join(grid.lines[0])}")
        for said in grid.doubles():
            self.notify(said)
        used = template.used(words, grid.names)
        for name in grid.names:
            if name not in used and not template.is_read(words, name):
                self.notify(f"{{{name}}} is not in the command, which finds it in $LECODER_CGPU_PARAM_{name}")
        self.printer.note(f"{len(grid)} {'item' if len(grid) == 1 else 'items'}")
        many = len(grid) > grids.ASKED and not options["yes"]
        if many and not self.printer.agrees(f"Run the command {len(grid)} times? [y/N] "):
            raise errors.UsageError(
                f"{len(grid)} items are many; nothing was started",
                name="ManyItems",
                hint="if you mean it, add --yes; to look at it first, fewer values and --dry-run",
            )
        template.check_targets(options["pull"], grid)
        return grid

    def _where(self, default: int = 1) -> tuple[list[str], int]:
        """The sessions that are named, or how many runtimes of its own the sweep may have.

        Raises:
            errors.UsageError: the options contradict each other. errors.NotFoundError: there is no such session.
        """
        options, client = self.options, self.app.client
        wants = runtime_options.wants(options) if "gpu" in options else None
        count: int | None = options["jobs"]
        given = options["sessions"] or self.app.session
        if given is None and count is None and (wants is None or not (wants.options or wants.limits)):
            with contextlib.suppress(errors.NotFoundError, errors.LostError):
                given = client.existing().record.name
        if given is None:
            count = count or default
            if wants is not None:
                client.check_kind(client.chosen, wants)
            if count > 1 and not options["understood"]:
                terms.refuse_several(client.leased(client.chosen), _agree("-j 1"))
            return [], count
        if count is not None:
            raise errors.UsageError(
                "the sessions are named, so --jobs cannot start others",
                name="ConflictingOptions",
                hint="leave out --sessions or --jobs",
            )
        if wants is not None and (wants.options or wants.limits):
            what = wants.options[0] if wants.options else "--idle-release, --max-runtime and --max-units"
            raise errors.UsageError(
                f"the sessions are named, so {what} cannot choose a runtime",
                name="ConflictingOptions",
                hint="leave out --sessions; or leave that out",
            )
        names = [part.strip() for part in given.split(",")]
        if not all(names):
            raise errors.UsageError(f"-s {given!r} names nothing", hint="-s A,B")
        found = {client.existing(key).record.name: client.existing(key).record for key in names}
        leased = [record for record in found.values() if client.leased(record.backend) is not None]
        if len(leased) > 1 and not options["understood"]:
            terms.refuse_several(client.leased(leased[0].backend), _agree("name one session"))
        return list(found), len(found)

    # --- going on ---

    def resume(self, name: str | None) -> Answer:
        """Run what has no result."""
        sweep = self._sweep(name)
        known = sweep.definition()
        sessions, count = list(known.sessions), known.own or 0
        if known.backend is not None:
            self.app.options.setdefault("backend", known.backend)
        if self.options["sessions"] or self.app.session or self.options["jobs"] is not None:
            sessions, count = self._where()
        elif known.own is not None:
            sessions = []
            if known.own > 1 and not self.options["understood"]:
                terms.refuse_several(self.app.client.leased(known.backend or ""), _agree("-j 1"))
        with sweep.working():
            known = sweep.definition()
            known.sessions = list(dict.fromkeys([*known.sessions, *sessions]))
            if self.options["retries"] is not None:
                known.retries = self.options["retries"]
            known.fail_fast = known.fail_fast or self.options["fail_fast"]
            sweep.write(known)
            return self._go_on(sweep, sessions, count)

    def _go_on(self, sweep: SweepFolder, sessions: Sequence[str], count: int, *, starts: bool = True) -> Answer:
        """Look what has a result, and run the rest, or only wait for what runs."""
        definition = sweep.definition()
        work = Work(self.manager(definition.backend), sweep, self.notify)
        retry = bool(self.options.get("retry_failed"))
        timeout: float | None = self.options.get("timeout")
        with self.printer.waiting("asking the sessions …"):
            work.look(retry_failed=retry)
        if starts:
            work.prepare(retry_failed=retry)
        log = None
        if self.options.get("joblog") is not None:
            log = JobLog(self.options["joblog"], definition.identity.command, work.standings)
        interrupted: int | None = None

        def tell(one: Standing) -> None:
            with self._lock:
                if log is not None and one.has_result:
                    log.add(one)
                if self.printer.mode == "human":
                    self.printer.note(sweep_text.ended(one, standings_of.counts_of(work.standings)))

        def state() -> str:
            counts = standings_of.counts_of(work.standings)
            return f"{counts.done + counts.failed} of {counts.items} items have ended, {counts.running} run;"

        wants = runtime_options.wants({**dict.fromkeys(KINDS), **UNSAID, **definition.options})
        try:
            with self.printer.reporting(state):
                work.run(sessions, count, wants, tell, starts=starts, limit=timeout, force=retry)
        except KeyboardInterrupt as interrupt:
            interrupted = errors.interrupted_status(interrupt)
        finally:
            if log is not None:
                log.close()
        return self._answer(work, interrupted, starts=starts)

    def _answer(self, work: Work, interrupted: int | None, *, starts: bool) -> Answer:
        """Give back what is not needed any more, and say how the sweep stands."""
        standing = [one for one in work.standings if not one.has_result]
        if interrupted is None and (starts or not standing):
            with self.printer.waiting("giving back the runtimes …"):
                work.give_back()
        document = sweep_text.document(work.sweep, work.definition, work.standings)
        if work.problem is not None and standing:
            sweep_text.fail(document, work.problem)
        if interrupted is not None:
            document.interrupted, document.exit_code = True, interrupted
            self.printer.note(
                f"interrupted; what runs goes on, and nothing more is started. To go on: lecoder-cgpu sweep resume "
                f"{document.name}; to end it: lecoder-cgpu sweep kill {document.name}"
            )
        return self._told(document)

    def _told(self, document: SweepDocument, exit_status: int | None = None) -> Answer:
        document.notice = self.printer.notice or UNSET
        if exit_status is not None:
            document.exit_code = exit_status
        if self.printer.mode == "human":
            self.printer.note(sweep_text.summary(document))
            said = ""
            if isinstance(document.error, ErrorInfo) and document.exit_code:
                said = document.error.suggestion or ""
                self.printer.note(f"error: {document.error.message}")
                self.printer.note(f"hint: {said}" if said else "")
            if isinstance(document.next, str) and document.interrupted is UNSET and document.next not in said:
                self.printer.note(f"to go on: {document.next}")
        return Answer(document, lambda: sweep_text.table(document), exit_status=document.exit_code)

    # --- looking, waiting, ending ---

    def _sweep(self, name: str | None) -> SweepFolder:
        """The sweep that is meant, fetched from the named sessions if it is not known here."""
        given = self.options.get("sessions") or self.app.session
        folder = self.app.client.state_dir
        if name is not None and given is not None:
            store.check(name)
            sweep = SweepFolder(folder, name)
            if not sweep.exists:
                names = [self.app.client.existing(part.strip()).record.name for part in given.split(",")]
                elsewhere.fetch(self.app.client, sweep, names)
        sweep = store.chosen(folder, name)
        sweep.definition()
        return sweep

    def status(self, name: str | None) -> Answer:
        """How it stands, as far as the runtimes tell."""
        sweep = self._sweep(name)
        work = Work(self.manager(None), sweep, self.notify)
        if not sweep.is_worked_on():
            with self.printer.waiting("asking the sessions …"):
                work.look(keep=False, adopt=False)
        document = sweep_text.document(work.sweep, work.definition, work.standings)
        return self._told(document, 0)

    def wait(self, name: str | None) -> Answer:
        """Wait until nothing of it runs."""
        sweep = self._sweep(name)
        timeout: float | None = self.options["timeout"]
        deadline = None if timeout is None else time.monotonic() + timeout
        with self.printer.waiting(f"waiting for {sweep.name} …"):
            while sweep.is_worked_on():
                if deadline is not None and time.monotonic() >= deadline:
                    work = Work(self.manager(None), sweep, self.notify)
                    return self._told(
                        sweep_text.document(work.sweep, work.definition, work.standings), errors.EXIT_STOPPED_WAITING
                    )
                time.sleep(LOOK)
        if deadline is not None:
            self.options["timeout"] = max(deadline - time.monotonic(), 0.0)
        with sweep.working():
            return self._go_on(sweep, [], 0, starts=False)

    def kill(self, name: str | None) -> Answer:
        """End all that runs, and give back the runtimes that were started for it."""
        sweep = self._sweep(name)
        with self.printer.waiting(f"ending {sweep.name} …"):
            sweep.ask_to_stop()
            deadline = time.monotonic() + STOPS_WITHIN
            while sweep.is_worked_on() and time.monotonic() < deadline:
                time.sleep(LOOK)
            with sweep.working():
                work = Work(self.manager(None), sweep, self.notify)
                work.look(adopt=False)
                running = [one for one in work.standings if one.state in ("running", "unreached")]
                for said in places.kill(work.manager, work.definition, running):
                    self.notify(f"it may go on: {said}")
                work.look(adopt=False)
                work.give_back()
        document = sweep_text.document(work.sweep, work.definition, work.standings)
        left = document.counts.running + document.counts.unreached
        return self._told(document, errors.EXIT_STOPPED_WAITING if left else 0)


def _agree(instead: str) -> str:
    return f"{instead}, buy units, or add {free_tier.OPTION} if you know that you may"
