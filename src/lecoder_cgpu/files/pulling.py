"""`--pull PATH --every TIME`: results that come home while the work goes on.

`Pulling` is what one run has declared. Whoever watches the run fetches in a thread of its own (`while_it_runs`); for a
job that nobody watches, the keeper does. A lock for each result sees to it that only one of them does at a time.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec import UNSET, Struct

from .. import errors
from ..guest import trees
from ..models.base import ErrorInfo
from ..models.files import Skipped
from ..models.runs import Pulled
from ..sessions.session import Session
from ..system import logs
from . import plan
from .commands import Storage
from .fetch import Fetch, Tell, put_back
from .generations import Generations, Manifest, resolve

if TYPE_CHECKING:
    from ..helper.gentle_channel import Pace

LEAST = 1.0  # seconds between two fetches
LOOK = 10.0  # seconds between two looks for what says when to fetch, unless the user says how many
LOCK_WAIT = 120.0  # seconds that a last fetch waits for another process, which is fetching the same
LAST_PAUSES = (2.0, 5.0)  # seconds before the last fetch is tried again when its connection failed
PATIENCE = 30.0  # seconds that the end of the work waits for a fetch under way; the last fetch waits for its lock


class Result(Struct):
    """One result: its path there, and its absolute path here."""

    path: str
    local: str


class Pulling(Struct, kw_only=True):
    """What is fetched of a run, and how often.

    Attributes:
        owner: the run's id, or what stands for all attempts of a job. folder: there, where relative paths start.
        every: seconds between two fetches. when: a pattern of files there: something is fetched only when one of them
            has come or has changed, and at the end; None for every time.
    """

    owner: str
    results: list[Result]
    every: float
    folder: str | None = None
    when: str | None = None


Marks = list[tuple[str, int, int]]  # name, size and time of change of the files that say when to fetch


def declared(specs: Sequence[str], every: float, owner: str, when: str | None = None) -> Pulling:
    """What `--pull PATH[:LOCAL]`, `--every` and `--pull-when` stand for, with the local names checked.

    Raises:
        errors.UsageError: a name is taken by something else, or twice, or cannot be chosen.
    """
    results: list[Result] = []
    for spec in specs:
        path, local = plan.split_pull(spec)
        name = plan.remote_name(path)
        if plan.has_magic(path) or not (name or local):
            raise errors.UsageError(
                f"--pull {spec}: with --every, one file or folder is fetched, which has a name",
                name="NotOnePath",
                hint="--pull FOLDER[:LOCAL] --every 5m; --pull .:LOCAL for the working folder",
            )
        target = resolve(local, name) if name else resolve(str(local).rstrip("/"), "")
        Generations(target).claim()
        if any(target == item.local or trees.is_inside(target, item.local) for item in results):
            raise errors.UsageError(
                f"--pull {spec}: {target} is the place of another result",
                name="ConflictingOptions",
                hint="give each a LOCAL of its own: --pull PATH:LOCAL",
            )
        results.append(Result(path, target))
    return Pulling(owner=owner, results=results, every=max(every, LEAST), when=when)


def new_marks(session: Session, pulling: Pulling, seen: Marks) -> Marks | None:
    """The files that say when to fetch, if any of them has come or has changed; None if nothing is to be fetched now.

    Args:
        seen: those of the last fetch.

    Raises:
        errors.Error: they cannot be looked at.
    """
    if pulling.when is None:
        return []
    pattern = plan.under(pulling.folder, pulling.when)
    with Storage(session, pace=_pace(pulling, time.sleep)) as storage:
        if plan.has_magic(pattern):
            found = storage.service.glob(pattern)
        else:
            entry = storage.service.stat(pattern).entry
            found = [] if entry is None else [entry]
    marks = [(item.name, item.size, item.mtime) for item in found if item.kind == trees.FILE]
    return marks if set(marks) - set(seen) else None


def fetch(
    session: Session,
    pulling: Pulling,
    tell: Tell,
    *,
    wait: float = 0.0,
    pause: Callable[[float], None] = time.sleep,
    gently: bool = False,
) -> list[Pulled]:
    """Fetch a generation of each result. One that fails does not keep the others back; each tells its own error.

    Args:
        wait: seconds to wait for another process that fetches the same.
        gently: do not slow the work, which goes on: pause for up to half of the interval.
    """
    try:
        with Storage(session, pace=_pace(pulling, pause) if gently else None) as storage:
            return [_fetch_one(storage, pulling, item, tell, wait, pause) for item in pulling.results]
    except errors.Error as error:  # the runtime cannot be reached
        return [_described(item, error=error) for item in pulling.results]


def fetch_last(session: Session, pulling: Pulling, tell: Tell) -> list[Pulled]:
    """The last fetch, when the work has ended: there is no other, so a connection that fails is not the end of it."""
    for pause in LAST_PAUSES:
        pulled = fetch(session, pulling, tell, wait=LOCK_WAIT)
        if not any(map(_may_pass, pulled)):
            return pulled
        time.sleep(pause)
    return fetch(session, pulling, tell, wait=LOCK_WAIT)


def _may_pass(pulled: Pulled) -> bool:
    """Whether it was the connection that kept a result from being fetched."""
    error = pulled.error
    if not isinstance(error, ErrorInfo) or error.stands_for(errors.FetchBusy):
        return False
    return error.retryable and error.category == errors.ConnectionFailed.category


def is_cut_off(pulled: Sequence[Pulled]) -> bool:
    """Whether a result was not fetched because its runtime is gone, or cannot be reached."""
    lost = (isinstance(item.error, ErrorInfo) and item.error.category == errors.LostError.category for item in pulled)
    return any(lost) or any(map(_may_pass, pulled))


def _pace(pulling: Pulling, pause: Callable[[float], None]) -> Pace:
    from ..helper.gentle_channel import Pace

    return Pace(pulling.every / 2, pause)


def _fetch_one(
    storage: Storage, pulling: Pulling, item: Result, tell: Tell, wait: float, pause: Callable[[float], None]
) -> Pulled:
    store = Generations(item.local)
    try:
        with store.alone(wait):
            manifest = Fetch(storage, store, plan.under(pulling.folder, item.path), pulling.owner, tell, pause).run()
    except errors.Error as error:
        logs.current().warn("FILES", f"pull of {item.path}: {error.message}")
        return _described(item, error=error, owner=pulling.owner)
    return _described(item, manifest)


def _described(
    item: Result, manifest: Manifest | None = None, *, error: errors.Error | None = None, owner: str | None = None
) -> Pulled:
    pulled = Pulled(path=item.path, local=item.local)
    if error is not None:
        pulled.error = ErrorInfo.of(error)
    if manifest is None:
        with contextlib.suppress(errors.Error):
            manifest = Generations(item.local).current()
        if manifest is not None and owner is not None and manifest.owner != owner:
            manifest = None
    if manifest is not None:
        files = [line for line in manifest.lines if line.kind == trees.FILE]
        pulled.files, pulled.bytes = len(files), sum(line.size for line in files)
        pulled.generation, pulled.complete_at = manifest.number, manifest.at
        pulled.restless = manifest.restless or UNSET
        pulled.skipped = [Skipped(path=name, reason=why) for name, why in manifest.left_out] or UNSET
    return pulled


def at_home(pulling: Pulling, problem: errors.Error | None) -> list[Pulled]:
    """What of each result is here, when its runtime cannot be asked; `problem` tells why that may not be all."""
    none = errors.FileNotFound("nothing of it was there to fetch", hint="name what the command writes: --pull PATH")
    found = [_described(item, error=problem, owner=pulling.owner) for item in pulling.results]
    for item in found:
        if item.generation is UNSET and problem is None:
            item.error = ErrorInfo.of(none)
    return found


def is_only_missing(pulled: Pulled) -> bool:
    """Whether nothing is there to fetch yet."""
    return isinstance(pulled.error, ErrorInfo) and pulled.error.category == errors.NotFoundError.category


def staged(path: str, nonce: str) -> str:
    """Where on the runtime something is kept beside its place until it is put there, see `guest/placing.py`."""
    parent, slash, name = path.rstrip("/").rpartition("/")
    return f"{parent}{slash}.{name}.{nonce}{trees.PART_SUFFIX}"


def restore(session: Session, pulling: Pulling, nonce: str | None = None) -> list[tuple[str, str]]:
    """Put the newest generation of each result back where the work looks for it.

    Args:
        nonce: put it beside that place, see `staged`.

    Returns:
        For each that was: the path on the runtime that has it now, and where it belongs.

    Raises:
        errors.Error: not all was put back.
    """
    done = []
    with Storage(session) as storage:
        for item in pulling.results:
            store = Generations(item.local)
            with store.alone(LOCK_WAIT):
                store.recover()
                found = store.current()
                if found is not None and found.owner == pulling.owner:
                    target = plan.under(pulling.folder, item.path)
                    place = target if nonce is None else staged(target, nonce)
                    put_back(storage, store, place)
                    done.append((place, target))
    return done


def newest(pulling: Pulling) -> int:
    """How many generations of this work there have been, over all results."""
    found = [Generations(item.local).current() for item in pulling.results]
    return sum(item.number for item in found if item is not None and item.owner == pulling.owner)


class Teller:
    """Tells each thing once, until it has changed: a problem that lasts is not told every five minutes."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._told: set[str] = set()
        self._problems: dict[str, str] = {}

    def say(self, text: str) -> None:
        """Tell a fact."""
        if text not in self._told:
            self._told.add(text)
            self._tell(text)

    def results(self, pulled: Sequence[Pulled]) -> None:
        """Tell which results could not be fetched, and which can be again. What is not there yet is no problem."""
        for item in pulled:
            before = self._problems.pop(item.path, None)
            if (
                isinstance(item.error, ErrorInfo)
                and not is_only_missing(item)
                and not item.error.stands_for(errors.FetchBusy)
            ):
                self._problems[item.path] = item.error.message
                if item.error.message != before:
                    self._tell(f"{item.path} was not fetched, and the run goes on: {item.error.message}")
            elif before is not None and item.error is UNSET:
                self._tell(f"{item.path} is fetched again")


@contextlib.contextmanager
def while_it_runs(open_session: Callable[[], Session], pulling: Pulling | None, tell: Tell) -> Iterator[None]:
    """Fetch at the interval, in a thread of its own, while the body runs. Nothing that goes wrong ends the body.

    Args:
        open_session: makes a session for that thread.
    """
    if pulling is None:
        yield
        return
    ended = threading.Event()
    teller = Teller(tell)

    def pause(seconds: float) -> None:
        if ended.wait(seconds):
            raise errors.FetchBusy(
                "the work has ended meanwhile", hint="lecoder-cgpu download PATH fetches what is there now"
            )

    def work() -> None:
        seen: Marks = []
        while not ended.wait(pulling.every):
            try:
                with open_session() as session:
                    marks = new_marks(session, pulling, seen)
                    if marks is None:
                        continue
                    pulled = fetch(session, pulling, teller.say, pause=pause, gently=True)
                    seen = marks if all(item.error is UNSET for item in pulled) else seen
                    teller.results(pulled)
            except errors.Error as error:
                logs.current().warn("FILES", f"a fetch failed: {error.message}")

    thread = threading.Thread(target=work, name="pulling", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(PATIENCE)
