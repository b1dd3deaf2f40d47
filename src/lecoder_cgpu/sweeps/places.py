"""Where the items of a sweep are executed: a session, made ready once, which does one item after the other.

Every job of a sweep has an id that derives from the sweep, the item's values and the number of the attempt. So starting
one twice starts it once, and any machine that knows the session finds it.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, structs

from .. import errors
from ..files import plan, results
from ..files.commands import Storage
from ..helper import bootstrap
from ..helper.launch import Launch
from ..models.base import ErrorInfo
from ..models.runs import Pulled
from ..net.http import is_loopback
from ..runs import closing, job_names, job_output, jobs, process_runs, records
from ..system import atomic_files
from . import template
from .code import kept
from .store import DEFINITION, ITEMS, Definition, Note, SweepFolder

if TYPE_CHECKING:
    from ..helper.documents import RunState
    from ..sessions.manager import SessionManager
    from ..sessions.session import Session
    from .standing import Standing

FOLDER = "lecoder-sweeps"  # on the runtime, in its working folder
PROGRAM = "item_folder"
ENDERS = ("kill", "interrupt", "close", "lease")  # on whose behalf a job is ended that is to run again
KEPT = 1 << 18  # bytes of each stream of a job that are kept here
LISTED = 10_000  # jobs of a runtime among which those of a sweep are looked for

_NAME = re.compile(r".*/([0-9a-f]{16})(?: (\d{1,6}))?")  # of a job: the item's key and the attempt

_servers: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)  # sessions of one server share a folder


def base(definition: Definition) -> str:
    """The sweep's folder on a runtime."""
    return f"{FOLDER}/{definition.name}-{definition.identity.id}"


def folder(definition: Definition, key: str, attempt: int) -> str:
    """The folder of one attempt at an item: none finds what another has left."""
    return f"{base(definition)}/items/{key}" + (f".{attempt + 1}" if attempt else "")


def job_key(definition: Definition, key: str, attempt: int) -> str:
    """What the job of an attempt is called by its makers; its id derives from that."""
    return f"sweep {definition.name} {definition.identity.id} {key} {attempt}"


def job_id(definition: Definition, key: str, attempt: int) -> str:
    """The id of an attempt's job."""
    return job_names.key_id(job_key(definition, key, attempt))


class Place:
    """A session that executes items.

    Args:
        sweep: what is stored of the sweep here. name: of the session.
        own: whether it was made for the sweep, so that its runtime is started, and given back.
        patience: seconds to wait for a free machine.
        items: all of the sweep, which are written beside the code, for other machines.
        takes: whether it is given items to start, or only waits for those that run there.
    """

    def __init__(
        self,
        manager: SessionManager,
        definition: Definition,
        sweep: SweepFolder,
        name: str,
        *,
        own: bool,
        patience: float = 0.0,
        items: bytes = b"",
        takes: bool = True,
    ) -> None:
        self.name = name
        self.is_own = own
        self.takes = takes
        self.keeps = False  # it has, or may have, results that were not fetched
        self._manager = manager
        self._definition = definition
        self._sweep = sweep
        self._patience = patience
        self._items = items
        self._session: Session | None = None
        self._python = "python3"

    # --- its session ---

    def open(self) -> None:
        """See to it that the session has its runtime, and the runtime what the items need.

        Raises:
            errors.Error: it has none, or not all could be sent.
        """
        session = self._own() if self.is_own else self._manager.existing(self.name)
        session.endpoint  # noqa: B018 - starts it
        if self.takes:
            with contextlib.closing(session.connect_helper()) as helper:
                self._python = helper.hello().executable
            url = session.endpoint.url
            # Servers on this machine may have the same working folder.
            with _servers["" if is_loopback(url) else url], Storage(session) as storage:
                self._send(storage)
        self._session = session

    def _own(self) -> Session:
        """The session that was stored for the sweep; its runtime is started if there is none."""
        session = self._manager.hold(self._manager.store.find(self.name))
        session.terms = structs.replace(session.terms, patience=self._patience, replace=True)
        return session

    def _send(self, storage: Storage) -> None:
        """Send the code, unless the runtime has it whole already, and what other machines need to know."""
        definition = self._definition
        if definition.folder is not None and not _has(storage, f"{base(definition)}/{DEFINITION}"):
            storage.sync(kept(self._sweep.path, definition.identity.code), f"{base(definition)}/code")
        for name, content in (
            (f"{PROGRAM}.py", bootstrap.program(PROGRAM).encode()),
            (ITEMS, self._items),
            (DEFINITION, msgspec.json.encode(definition)),  # the last: it says that the code is there
        ):
            storage.upload_stream(io.BytesIO(content), f"{base(definition)}/{name}")

    def is_lost(self) -> bool:
        """Whether the runtime is certainly gone."""
        return self._session is not None and (self._session.known_gone() or self._session.is_lost())

    def forget(self) -> None:
        """Open it anew before the next item."""
        if self._session is not None:
            self._session.close()
        self._session = None

    @property
    def is_open(self) -> bool:
        return self._session is not None

    @property
    def session(self) -> Session:
        assert self._session is not None, "opened before"
        return self._session

    def give_back(self) -> None:
        """Give the runtime back if it is the sweep's own.

        Raises:
            errors.Error: it may still be held.
        """
        record = next((item for item in self._manager.store.records() if item.name == self.name), None)
        if self.is_own and record is not None:
            closing.close(self._manager, record)

    # --- one item ---

    def run_now(self, standings: Sequence[Standing]) -> dict[str, int]:
        """Which of these items run there now, with their attempts, by their keys.

        Raises:
            errors.Error: the runtime could not be asked.
        """
        found = found_jobs(self._manager, self._definition, self.name, standings)
        return {key: attempt for key, (attempt, state) in found.items() if not state.ended}

    def start(self, standing: Standing) -> str:
        """Start the job of an item's present attempt, if it is not there already; returns its id."""
        definition, item = self._definition, standing.item
        where = folder(definition, item.key, standing.attempt)
        code = f"{base(definition)}/code" if definition.folder is not None else "-"
        words = template.command(definition.identity.command, item)
        name = f"{definition.name}/{item.key}" + (f" {standing.attempt + 1}" if standing.attempt else "")
        launch = Launch(environment=dict(template.variables(item, definition.name)), name=name[: job_names.LONGEST])
        started = jobs.start(
            self.session,
            [self._python, "-I", "-S", f"{base(definition)}/{PROGRAM}.py", where, code, *words],
            launch,
            key=job_key(definition, item.key, standing.attempt),
        )
        with contextlib.suppress(errors.ConfigError):  # a history that cannot be written ends no work
            records.remember_job(self.session, started, template.shown(definition.identity.command, item), "terminal")
        return started.job_id

    def wait(self, standing: Standing) -> Note:
        """Wait for the end of an item's job, end what it left behind, and fetch its results."""
        definition, key = self._definition, standing.item.key
        run = job_id(definition, key, standing.attempt)
        with jobs.Jobs(self.session) as opened:
            opened.wait(run, None)
            state = opened.find(run)
            note = self._note(opened, state, standing)
            if not state.gone:
                left = opened.kill(run, escalate=True)
                if left.exit_code:
                    self.session.notify(f"{run} has left processes on {self.name} that could not be ended")
            if note.state == "failed" or self.is_own:
                self._keep_output(opened, run, note)
        self.session.used()
        if note.state != "killed" and definition.pull:
            self._fetch(standing, note)
        return note

    def _keep_output(self, opened: jobs.Jobs, run: str, note: Note) -> None:
        """Keep what a job printed last: its runtime may be given back before anybody asks."""
        pieces: list[bytes] = []
        job_output.read_both(opened, run, lambda _, data: pieces.append(data), -KEPT, None)
        try:
            atomic_files.write_atomic(self._sweep.output(note.key, note.attempt), b"".join(pieces))
        except errors.ConfigError as error:  # no room here ends no work
            self.session.notify(f"the output of {run} is not kept here: {error.message}")

    def _note(self, opened: jobs.Jobs, state: RunState, standing: Standing) -> Note:
        """What is to be noted of a job that has ended."""
        note = Note(key=standing.item.key, state="done", attempt=standing.attempt, session=self.name)
        document = opened.document(state)
        result = state.result
        if result is not None:
            note.seconds, note.signal = round(result.seconds, 3), result.signal
        note.exit = jobs.exit_status(state)
        stopped = process_runs.stopped_by(state)
        if stopped is not None and stopped.by in ENDERS:  # also if it then ended well: its work is not complete
            note.state = "killed"
        elif document.status != "ok":
            note.state = "failed"
        if document.status != "ok":
            note.error = document.error.message if isinstance(document.error, ErrorInfo) else None
        return note

    def _fetch(self, standing: Standing, note: Note) -> None:
        """Fetch the results of an item. What a failed one has not written is no further failure.

        Raises:
            errors.TransferError: (`PullFailed`) the runtime has them, and they did not arrive.
        """
        where = folder(self._definition, note.key, note.attempt)
        specs = [template.expand_pull(spec, standing.item) for spec in self._definition.pull]
        pulled = [self._pulled(spec, where) for spec in specs]
        missing = [item for item in pulled if isinstance(item.error, ErrorInfo)]
        absent = [item for item in missing if item.error.category == errors.NotFoundError.category]  # type: ignore[union-attr]
        if len(missing) > len(absent):
            problem = results.pull_problem(missing, where, self.name)
            assert problem is not None
            raise problem
        note.pulled = [msgspec.to_builtins(item) for item in pulled if item not in absent]
        if absent and note.state == "done":
            note.state = "failed"
            note.error = f"it has ended well, and there is no {', '.join(item.path for item in absent)} to fetch"

    def _pulled(self, spec: str, where: str) -> Pulled:
        """Fetch one result. A folder that was fetched before gets the new content, and no folder inside."""
        remote, local = plan.split_pull(spec)
        target = os.path.join(self._definition.here, os.path.expanduser(local or "./"))
        if target.endswith(("/", os.sep)):
            target = os.path.join(target, plan.remote_name(remote) or ".")
        if os.path.isdir(target):
            (again,) = results.pull(self.session, [f"{remote.rstrip('/')}/.:{target}"], where)
            if again.error is UNSET:
                again.path = remote
                return again
        os.makedirs(os.path.dirname(target), exist_ok=True)
        (pulled,) = results.pull(self.session, [f"{remote}:{target}"], where)
        return pulled


def _has(storage: Storage, path: str) -> bool:
    try:
        storage.list(path)
    except errors.NotFoundError:
        return False
    return True


def kill(manager: SessionManager, definition: Definition, standings: Iterable[Standing]) -> list[str]:
    """End these items' jobs, each on the runtime of its session; returns what could not be done, as sentences."""
    problems = []
    for standing in standings:
        try:
            with jobs.Jobs(manager.existing(standing.session)) as opened:
                opened.kill(job_id(definition, standing.item.key, standing.attempt), escalate=True)
        except errors.NotFoundError:
            continue  # it was never started
        except errors.Error as error:
            problems.append(f"{standing.item.described()} on {standing.session}: {error.message}")
    return problems


def found_jobs(
    manager: SessionManager, definition: Definition, name: str, standings: Sequence[Standing]
) -> dict[str, tuple[int, RunState]]:
    """The newest job of each of these items on a session's runtime: attempt and state, by the item's key.

    Raises:
        errors.Error: the runtime could not be asked.
    """
    wanted = {standing.item.key for standing in standings}
    with contextlib.closing(manager.existing(name).connect_helper()) as helper:
        states = helper.runs(LISTED)
    found: dict[str, tuple[int, RunState]] = {}
    for state in states:
        named = _NAME.fullmatch(state.name or "")
        if named is None or named[1] not in wanted:
            continue
        key, attempt = named[1], int(named[2] or 1) - 1
        if state.run == job_id(definition, key, attempt) and attempt >= found.get(key, (0, state))[0]:
            found[key] = (attempt, state)
    return found
