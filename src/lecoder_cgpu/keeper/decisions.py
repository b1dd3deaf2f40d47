"""What the keeper decides, as a function of what has happened and of the time. Pure: no clock, no file, no network.

    step(state, event, now) -> (state, actions)

`learn` takes an event into the state; `decide` says what is due. Whoever calls `step` (see `daemon.py`) does the
actions and reports each answer as an event, in whatever order they come. `step` is also called without an event about
once a second, since time passes.

The keeper::

    keeping ──nothing is held(*)───────> leaving ──still nothing──> End
       ^                                    │
       └──────a session appeared────────────┘
    keeping ──no answer from a lender for a day──> giving up ──whatever is held──> End

(*) and no results of jobs are to be fetched (`pulls.py`).

In `leaving` the keeper has removed its record (`Withdraw`) and looks once more. A command writes its session first and
looks for the record afterwards; so a command that still saw the record has written its session early enough.

A session (its `stage` is what the store says)::

    asked ──a runtime is there──> kept ──a limit of the lease──> closing ──Released──> not held
      └──after ASKED_LIMIT──> not held
                                  kept, closing ──Lost──> not held

While it is `asked`, only the listing is asked: the command that wanted the runtime may have been killed before it had
the answer. While it is `kept`, these run side by side. Each question is under way once at most, so one that is slow or
fails hinders no other:

=========  =============================================  =========================================================
question   asked                                          answer
=========  =============================================  =========================================================
token      when the proxy token is to be replaced;        another one is stored, or `Lost`
           again after RETRY
ping       every `interval`                               taken; or not found, which alone means nothing
listing    after MISSES pings that found nothing, while   the runtime is there, or may be; or `Lost`
           the listing lacks the runtime, while `asked`
work       every `interval`; without any kernel, only     yes, no, or unknown; and when it was last in use
           CREATED_PAUSE intervals after the start
account    every `interval`, while a lease limits cost    the rate, by which cost is counted in every lease
socket     while the last answer about work is yes        open, until work has ended or the runtime has moved
release    when a limit is reached; again after           `Released`; or `Outdated`, if the limit has changed
           `interval`; nothing else is begun meanwhile
=========  =============================================  =========================================================

A lease ends by time and by cost whatever the runtime does. It ends by idleness only at the very moment when the runtime
says that it has no work: an answer that is missing or old is no reason to end anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from msgspec import UNSET, Struct, structs

from ..models.keeper import KeptSession
from ..store import leases
from ..store.session_store import Lease
from .events import (
    AccountSeen,
    Action,
    AskAccount,
    AskWork,
    Call,
    CloseSocket,
    End,
    Event,
    Failed,
    Looked,
    Lost,
    Note,
    OpenSocket,
    Outdated,
    Ping,
    Pinged,
    Question,
    Refresh,
    Refreshed,
    Release,
    Released,
    Report,
    SetBack,
    SocketEnded,
    SocketOpened,
    StoredSession,
    Unreadable,
    Withdraw,
    WorkSeen,
)

ASKED_LIMIT = 900.0  # seconds that an allocation may be under way
RETRY = 5.0  # seconds between two tries of what should not wait for an interval
SILENCE_LIMIT = 86400.0  # seconds without an answer of a lender after which the keeper gives up
MARGIN_LEAST = 30.0  # seconds that the runtime waits longer than the keeper before it releases itself; or two intervals
CREATED_PAUSE = 5  # intervals after which a runtime that has no kernel gets one, so that the lender sees it in use
MISSES = 2  # pings in a row that find nothing before the listing is asked


class RuntimeState(Struct, frozen=True, kw_only=True):
    """What the keeper knows of one runtime.

    Args:
        asked: when each question was last asked. waiting: the questions that are under way.
        working: the last answer about work; `fresh` while that answer is being decided upon.
        lease: with the work and the cost that this keeper has seen; it may be ahead of the stored one.
        counted: up to when cost has been counted. noted: when work and cost were last written into the store.
        socket: the address over which a kernel's socket is held.
        problems: what failed last, by question, until it works again.
        gone: when it was released or lost. Nothing is begun for an `interval` then, in which the store says so, too.
    """

    stored: StoredSession
    lease: Lease
    counted: float
    noted: float | None = None
    asked: dict[Question, float] = {}
    waiting: frozenset[Question] = frozenset()
    ping: str = "none yet"
    missed: int = 0
    working: bool | None = None
    fresh: bool = False
    socket: str | None = None
    problems: dict[Question, str] = {}
    gone: float | None = None


class KeeperState(Struct, frozen=True, kw_only=True):
    """What the keeper knows. `interval`: seconds between two pings, and between two questions about work.

    `heard` is when a lender last answered, `silent` whether that is too long ago. `runtimes` is None before the first
    look at the store.
    """

    interval: float
    heard: float
    stage: Literal["keeping", "leaving", "giving up", "ended"] = "keeping"
    runtimes: dict[str, RuntimeState] | None = None
    unstored: tuple[CloseSocket, ...] = ()  # sockets of sessions that are not held any more
    looked: bool = False  # in this very step
    silent: bool = False
    pulls: bool = False  # results of jobs are still to be fetched
    accounts_asked: dict[str, float] = {}  # by backend
    accounts_waiting: frozenset[str] = frozenset()
    reported: tuple[KeptSession, ...] | None = None
    reported_at: float = 0.0


def step(state: KeeperState, event: Event | None, now: float) -> tuple[KeeperState, list[Action]]:
    """The state after an event (or after the mere passing of time), and what is to be done now."""
    if state.stage == "ended":
        return state, []
    return decide(state if event is None else learn(state, event, now), now)


# --- what has happened ---


def learn(state: KeeperState, event: Event, now: float) -> KeeperState:
    """The state that takes an event into account."""
    match event:
        case Looked(sessions, pulls):
            return structs.replace(_look(state, sessions, now), pulls=pulls)
        case Unreadable():
            return structs.replace(state, silent=_silent(state, now), looked=True)
        case AccountSeen(backend, rate):
            counted = {
                name: runtime if rate is None or runtime.stored.backend != backend else _count(runtime, rate, now)
                for name, runtime in (state.runtimes or {}).items()
            }
            waiting = state.accounts_waiting - {backend}
            return structs.replace(state, heard=now, runtimes=counted, accounts_waiting=waiting)
        case Failed(question="account", backend=backend):
            waiting = state.accounts_waiting - {backend}
            return structs.replace(state, accounts_waiting=waiting, silent=_silent(state, now))
    # What is left is about one session.
    known = state.runtimes or {}
    runtime = known.get(event.session)
    if isinstance(event, Refreshed | Pinged | Released | Lost):
        state = structs.replace(state, heard=now)
    elif isinstance(event, Failed):
        state = structs.replace(state, silent=_silent(state, now))
    if runtime is None:  # an answer that came after the session was closed
        late = isinstance(event, SocketOpened)
        return structs.replace(state, unstored=(*state.unstored, CloseSocket(event.session))) if late else state
    return structs.replace(state, runtimes={**known, event.session: _answer(runtime, event, now)})


def _silent(state: KeeperState, now: float) -> bool:
    """Asked when something has failed, so that waking up after a long sleep is not taken for silence."""
    return now - state.heard > SILENCE_LIMIT


def _look(state: KeeperState, sessions: tuple[StoredSession, ...], now: float) -> KeeperState:
    known = state.runtimes or {}
    held = {item.id: _found(known.get(item.id), item, now) for item in sessions}
    left = tuple(CloseSocket(name) for name, runtime in known.items() if name not in held and runtime.socket)
    return structs.replace(state, runtimes=held, unstored=(*state.unstored, *left), looked=True)


def _found(known: RuntimeState | None, stored: StoredSession, now: float) -> RuntimeState:
    lease = stored.lease or Lease(began=stored.created)
    if known is None or known.stored.endpoint != stored.endpoint:
        # Another runtime of the same session: nothing that was known of the old one holds, its open questions aside.
        fresh = RuntimeState(stored=stored, lease=lease, counted=now)
        return fresh if known is None else structs.replace(fresh, waiting=known.waiting, socket=known.socket)
    if known.lease.began == lease.began:
        seen = [moment for moment in (lease.last_work, known.lease.last_work) if moment is not None]
        lease = structs.replace(lease, units=max(lease.units, known.lease.units), last_work=max(seen) if seen else None)
    return structs.replace(known, stored=stored, lease=lease)


def _count(runtime: RuntimeState, rate: float, now: float) -> RuntimeState:
    """Add the cost since the last count. It is that of the whole account, so that it never counts too little."""
    if runtime.stored.stage == "asked":
        return structs.replace(runtime, counted=now)
    units = runtime.lease.units + rate * max(now - runtime.counted, 0.0) / 3600
    return structs.replace(runtime, lease=structs.replace(runtime.lease, units=units), counted=now)


def _answer(runtime: RuntimeState, event: Event, now: float) -> RuntimeState:
    """What is known of a runtime after an answer."""
    match event:
        case Refreshed(_, question):
            missed = 0 if question == "listing" else runtime.missed
            return structs.replace(_done(runtime, question), missed=missed)
        case Pinged(_, "not found"):
            missed = runtime.missed + 1
            return structs.replace(_done(runtime, "ping"), missed=missed, ping=f"not found ({missed})")
        case Pinged(_, answer):
            ping = "ok" if answer == "taken" else "this control plane has no ping"
            return structs.replace(_done(runtime, "ping"), missed=0, ping=ping)
        case WorkSeen(_, working, ago):
            lease = runtime.lease
            if working or ago is not None:
                moment = now if working or ago is None else now - ago
                lease = structs.replace(lease, last_work=max(lease.last_work or 0.0, moment))
            return structs.replace(_done(runtime, "work"), working=working, fresh=True, lease=lease)
        case Released(_, done):
            return structs.replace(_done(runtime, "release"), gone=now if done else None)
        case Outdated():
            return _done(runtime, "release")
        case SocketOpened(_, address):
            return structs.replace(_done(runtime, "socket"), socket=address)
        case SocketEnded():
            return structs.replace(runtime, socket=None)
        case Lost(_, question):
            return structs.replace(_done(runtime, question), gone=now)
        case Failed(_, question, message):
            failed = structs.replace(
                runtime,
                waiting=runtime.waiting - {question},
                problems={**runtime.problems, question: message},
                ping=message if question == "ping" else runtime.ping,
            )
            # A runtime that cannot be asked is not known to work, and not known to be idle.
            return structs.replace(failed, working=None) if question == "work" else failed
    raise AssertionError(event)


def _done(runtime: RuntimeState, question: Question) -> RuntimeState:
    problems = {name: message for name, message in runtime.problems.items() if name != question}
    return structs.replace(runtime, waiting=runtime.waiting - {question}, problems=problems)


# --- what is due ---


def decide(state: KeeperState, now: float) -> tuple[KeeperState, list[Action]]:
    """Everything that is to be done now, and the state in which it is under way."""
    actions: list[Action] = list(state.unstored)
    looked, state = state.looked, structs.replace(state, unstored=(), looked=False)
    if state.runtimes is not None:
        decided = {name: _decide(runtime, state.interval, now) for name, runtime in state.runtimes.items()}
        actions += [action for _, found in decided.values() for action in found]
        state = structs.replace(state, runtimes={name: runtime for name, (runtime, _) in decided.items()})
    for backend in _accounts_due(state, now):
        actions.append(AskAccount(backend))
        state = structs.replace(
            state,
            accounts_asked={**state.accounts_asked, backend: now},
            accounts_waiting=state.accounts_waiting | {backend},
        )
    stage, ending = _ending(state, looked, now)
    returned = (state.stage, stage) == ("leaving", "keeping")
    state = structs.replace(state, stage=stage)
    shown = tuple(_shown(runtime) for runtime in (state.runtimes or {}).values() if _held(runtime, now))
    beat = _is_over(state.reported_at, state.interval, now)
    if stage == "keeping" and state.runtimes is not None and (returned or beat or shown != state.reported):
        actions.append(Report(shown))
        state = structs.replace(state, reported=shown, reported_at=now)
    return state, [*actions, *ending]


def _ending(
    state: KeeperState, looked: bool, now: float
) -> tuple[Literal["keeping", "leaving", "giving up", "ended"], list[Action]]:
    """Whether the keeper goes on, and what it does when it does not."""
    held = state.pulls or any(_held(runtime, now) for runtime in (state.runtimes or {}).values())
    if state.stage == "keeping":
        if state.silent:
            return "giving up", [Withdraw()]
        return ("keeping", []) if held or state.runtimes is None else ("leaving", [Withdraw()])
    if state.stage == "leaving":
        if held:
            return "keeping", []
        return ("ended", [End("nothing is held")]) if looked else ("leaving", [])
    return "ended", [End("no word from Colab for a day" if held else "nothing is held")]


def _held(runtime: RuntimeState, now: float) -> bool:
    asked = runtime.stored.stage == "asked"
    return not asked or now - runtime.stored.created < ASKED_LIMIT


def _accounts_due(state: KeeperState, now: float) -> list[str]:
    """The backends whose accounts are to be asked: those with a lease that limits cost."""
    limited = {
        runtime.stored.backend: None
        for runtime in (state.runtimes or {}).values()
        if runtime.stored.lease is not None and runtime.stored.lease.max_units is not None and _held(runtime, now)
    }
    return [
        name
        for name in limited
        if name not in state.accounts_waiting and _is_over(state.accounts_asked.get(name), state.interval, now)
    ]


def _is_over(since: float | None, pause: float, now: float) -> bool:
    """Whether a pause is over. A clock that was set back ends it, lest nothing is done for hours."""
    return since is None or not 0 <= now - since < pause


def _decide(runtime: RuntimeState, interval: float, now: float) -> tuple[RuntimeState, list[Action]]:
    """What is due for one runtime."""
    if runtime.stored.kernel is None and runtime.stored.stage == "kept":
        runtime = structs.replace(runtime, working=False, fresh=True)  # nothing was ever started on it
    actions: list[Action] = []
    if leases.is_ahead(runtime.lease, runtime.stored.used, now):
        runtime = structs.replace(runtime, lease=leases.not_ahead(runtime.lease, now))
        actions.append(SetBack(runtime.stored.id))
    if _is_over(runtime.gone, interval, now):
        actions += _due(runtime, interval, now)
    asked = dict(runtime.asked)
    waiting = set(runtime.waiting)
    socket = runtime.socket
    for action in actions:
        if isinstance(action, CloseSocket):
            socket = None
            asked.pop("socket", None)  # another may be opened at once
        elif isinstance(action, Note):
            runtime = structs.replace(runtime, noted=now)
        elif isinstance(action, Call):
            asked[action.question] = now
            waiting.add(action.question)
    return structs.replace(runtime, asked=asked, waiting=frozenset(waiting), socket=socket, fresh=False), actions


def _due(runtime: RuntimeState, interval: float, now: float) -> Iterator[Action]:
    stored, lease = runtime.stored, runtime.lease

    def due(question: Question, pause: float = interval) -> bool:
        return question not in runtime.waiting and _is_over(runtime.asked.get(question), pause, now)

    if "release" in runtime.waiting:
        return
    if stored.stage == "asked":
        if due("listing"):
            yield Refresh(stored.id, "listing")
        return
    if stored.stage == "closing":
        if due("release"):
            yield Release(stored.id, None, lease, stored.used)
        return
    certain = runtime.working if runtime.fresh else None
    limit = leases.over(lease, now, working=certain, used=stored.used, slack=interval)
    reason = "owner" if stored.abandoned else limit
    if reason is not None and due("release"):
        yield Release(stored.id, reason, lease, stored.used)
        return
    seen = None if stored.lease is None else (stored.lease.last_work, stored.lease.units)
    if seen != (lease.last_work, lease.units) and _is_over(runtime.noted, min(interval, RETRY), now):
        yield Note(stored.id, lease)
    if stored.token_due is not None and now >= stored.token_due and due("token", RETRY):
        yield Refresh(stored.id, "token")
    if due("ping"):
        yield Ping(stored.id)
    if (runtime.missed >= MISSES or stored.unlisted) and due("listing"):
        yield Refresh(stored.id, "listing")
    created_only = stored.kernel is None and stored.ready and now - stored.created > CREATED_PAUSE * interval
    if (stored.kernel is not None or created_only) and due("work"):
        yield _ask_work(stored.id, lease, interval, now)
    moved = runtime.socket is not None and stored.address is not None and runtime.socket != stored.address
    if runtime.socket is not None and (not runtime.working or moved):
        yield CloseSocket(stored.id)
    elif runtime.socket is None and runtime.working and stored.kernel is not None and due("socket"):
        yield OpenSocket(stored.id, stored.kernel)


def _ask_work(session: str, lease: Lease, interval: float, now: float) -> AskWork:
    """The runtime is told its limits with a margin, so that the keeper acts first while it is there."""
    margin = max(MARGIN_LEAST, 2 * interval)
    seconds = None if lease.max_runtime is None else lease.began + lease.max_runtime - now + margin
    return AskWork(session, seconds, None if lease.idle is None else lease.idle + margin)


def _shown(runtime: RuntimeState) -> KeptSession:
    return KeptSession(
        session=runtime.stored.name,
        endpoint=runtime.stored.endpoint,
        ping=runtime.ping,
        work="unknown" if runtime.working is None else "running" if runtime.working else "none",
        socket=runtime.socket is not None,
        problem=list(runtime.problems.values())[-1] if runtime.problems else UNSET,
    )
