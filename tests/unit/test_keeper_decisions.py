"""What the keeper decides, in virtual time: every transition, and what holds whatever the order of the answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from lecoder_cgpu.keeper import decisions
from lecoder_cgpu.keeper.decisions import KeeperState, RuntimeState, step
from lecoder_cgpu.keeper.events import (
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
from lecoder_cgpu.store.session_store import Lease

BEGAN = 1_000_000.0
INTERVAL = 60.0
DAY = 86400.0


def session(name: str = "a", **fields: Any) -> StoredSession:
    """A session that is held, with a kernel and the usual lease."""
    usual: dict[str, Any] = {
        "stage": "kept", "created": BEGAN, "endpoint": "m-1", "lease": Lease(began=BEGAN), "address": "https://x/",
        "kernel": "k",
    }  # fmt: skip
    return StoredSession(id=name, name=name, backend="colab", **usual | fields)


class Keeper:
    """The keeper in virtual time; the test answers for Colab, the runtimes and the store."""

    def __init__(self, *sessions: StoredSession, now: float = BEGAN) -> None:
        self.now = now
        self.state = KeeperState(interval=INTERVAL, heard=now)
        self.begun = self.look(*sessions)

    def feed(self, event: Event | None = None) -> list[Action]:
        self.state, actions = step(self.state, event, self.now)
        return [action for action in actions if not isinstance(action, Report)]

    def look(self, *sessions: StoredSession) -> list[Action]:
        return self.feed(Looked(sessions))

    def after(self, seconds: float) -> list[Action]:
        """What is begun when time has passed."""
        self.now += seconds
        return self.feed()

    def runtime(self, name: str = "a") -> RuntimeState:
        assert self.state.runtimes is not None
        return self.state.runtimes[name]


def kinds(actions: Iterable[Action]) -> list[str]:
    return sorted(type(action).__name__ for action in actions)


def only(actions: Iterable[Action], kind: type) -> list[Any]:
    return [action for action in actions if isinstance(action, kind)]


# --- the questions ---


def test_what_is_asked_when() -> None:
    """Pings and questions about work come at once and every interval, each once at a time."""
    keeper = Keeper(session())
    assert kinds(keeper.begun) == ["AskWork", "Ping"]
    assert keeper.after(INTERVAL) == []  # both are under way
    assert kinds(keeper.feed(Pinged("a", "taken"))) == ["Ping"]  # it took an interval
    assert keeper.runtime().ping == "ok"
    assert kinds(keeper.feed(WorkSeen("a", False))) == ["AskWork"]
    assert keeper.feed(WorkSeen("a", False)) == []
    assert keeper.after(INTERVAL - 1) == []
    assert kinds(keeper.after(1)) == ["AskWork"]
    keeper.feed(Pinged("a", "not needed"))
    assert keeper.runtime().ping == "this control plane has no ping"


def test_a_clock_that_was_set_back_stops_nothing() -> None:
    """Whatever the clock says, pings go on."""
    keeper = Keeper(session())
    keeper.feed(Pinged("a", "taken"))
    keeper.now -= 7200
    assert "Ping" in kinds(keeper.feed())


def test_what_was_only_asked_for_is_looked_for() -> None:
    """An allocation under way is held for a while. Who asked may be dead: the lender is asked what came of it."""
    keeper = Keeper(session(stage="asked"))
    assert keeper.begun == [Refresh("a", "listing")]
    assert keeper.after(INTERVAL) == []  # it is under way
    assert keeper.feed(Refreshed("a", "listing")) == [Refresh("a", "listing")]
    assert keeper.after(decisions.ASKED_LIMIT - INTERVAL - 1) == []
    assert keeper.after(1) == [Withdraw()]
    assert keeper.look(session(stage="asked")) == [End("nothing is held")]


def test_a_runtime_without_a_kernel_is_not_asked() -> None:
    """Nothing was ever started on it: it is idle, and no question could be answered."""
    keeper = Keeper(session(kernel=None))
    assert kinds(keeper.begun) == ["Ping"]
    assert keeper.runtime().working is False
    assert only(keeper.after(3600 + INTERVAL), Release)[0].reason == "idle"


def test_a_token_is_replaced_in_time() -> None:
    """Once when it is due, again a little later if that changed nothing, and no more when another one is stored."""
    keeper = Keeper(session(token_due=BEGAN + 100))
    assert only(keeper.after(99), Refresh) == []
    assert only(keeper.after(1), Refresh) == [Refresh("a", "token")]
    assert only(keeper.after(100), Refresh) == []  # it is under way
    assert only(keeper.feed(Failed("a", "token", "no network")), Refresh) == [Refresh("a", "token")]
    assert only(keeper.feed(Failed("a", "token", "no network")), Refresh) == []
    assert keeper.runtime().problems == {"token": "no network"}
    assert only(keeper.after(decisions.RETRY), Refresh) == [Refresh("a", "token")]
    keeper.feed(Refreshed("a", "token"))
    assert keeper.runtime().problems == {}
    keeper.look(session(token_due=keeper.now + 3000))
    assert only(keeper.after(100), Refresh) == []


def test_pings_that_find_nothing_prove_nothing() -> None:
    """Two in a row make the listing be asked. If it has the runtime, they are forgotten; if not, it is lost."""
    keeper = Keeper(session())
    keeper.feed(Pinged("a", "not found"))
    assert keeper.runtime().ping == "not found (1)"
    keeper.after(INTERVAL)
    assert only(keeper.feed(Pinged("a", "not found")), Refresh) == [Refresh("a", "listing")]
    keeper.feed(Refreshed("a", "listing"))
    assert keeper.runtime().missed == 0
    for _ in range(2):
        keeper.after(INTERVAL)
        keeper.feed(Pinged("a", "not found"))
    assert "listing" in keeper.runtime().waiting
    keeper.feed(Lost("a", "listing"))
    assert keeper.after(INTERVAL - 1) == []  # the store is about to say so, too
    assert keeper.look() == [Withdraw()]


def test_a_ping_that_was_taken_forgets_those_before() -> None:
    keeper = Keeper(session())
    keeper.feed(Pinged("a", "not found"))
    keeper.after(INTERVAL)
    keeper.feed(Pinged("a", "taken"))
    assert keeper.runtime().missed == 0


def test_a_loss_that_the_store_does_not_know_is_looked_into_again() -> None:
    """Nothing is begun for an interval; a session that is still held then is kept as before."""
    keeper = Keeper(session())
    keeper.feed(Lost("a", "work"))
    assert keeper.after(INTERVAL - 1) == []
    assert "AskWork" in kinds(keeper.after(1))


# --- work, and the socket ---


def test_a_socket_is_held_exactly_while_work_runs() -> None:
    keeper = Keeper(session())
    assert only(keeper.feed(WorkSeen("a", True)), OpenSocket) == [OpenSocket("a", "k")]
    keeper.feed(SocketOpened("a", "https://x/"))
    assert keeper.runtime().socket == "https://x/"
    keeper.after(INTERVAL)
    assert only(keeper.feed(WorkSeen("a", True)), OpenSocket) == []
    keeper.after(INTERVAL)
    assert CloseSocket("a") in keeper.feed(WorkSeen("a", False))
    assert keeper.runtime().socket is None


def test_a_runtime_that_cannot_be_asked_is_not_known_to_work() -> None:
    keeper = Keeper(session())
    keeper.feed(WorkSeen("a", True))
    keeper.feed(SocketOpened("a", "https://x/"))
    keeper.after(INTERVAL)
    assert CloseSocket("a") in keeper.feed(Failed("a", "work", "no network"))
    assert keeper.runtime().working is None


def test_a_socket_follows_the_runtime() -> None:
    """Over another address, it is opened anew."""
    keeper = Keeper(session())
    keeper.feed(WorkSeen("a", True))
    keeper.feed(SocketOpened("a", "https://x/"))
    assert CloseSocket("a") in keeper.look(session(address="https://y/"))
    assert OpenSocket("a", "k") in keeper.feed()


def test_a_socket_that_ends_is_opened_again_after_a_pause() -> None:
    keeper = Keeper(session())
    keeper.feed(WorkSeen("a", True))
    keeper.feed(SocketOpened("a", "https://x/"))
    assert only(keeper.feed(SocketEnded("a")), OpenSocket) == []
    assert only(keeper.after(INTERVAL), OpenSocket) == [OpenSocket("a", "k")]
    keeper.feed(Failed("a", "socket", "refused"))
    assert only(keeper.feed(), OpenSocket) == []
    assert only(keeper.after(INTERVAL), OpenSocket) == [OpenSocket("a", "k")]


def test_no_socket_is_left_behind() -> None:
    """That of a session which was closed is let go, even if it was opened afterwards."""
    keeper = Keeper(session(), session("b"))
    keeper.feed(WorkSeen("a", True))
    keeper.feed(WorkSeen("b", True))
    keeper.feed(SocketOpened("a", "https://x/"))
    assert CloseSocket("a") in keeper.look(session("b"))
    keeper.look()
    assert CloseSocket("b") in keeper.feed(SocketOpened("b", "https://x/"))


def test_the_runtime_is_told_its_limits() -> None:
    """With a margin, so that the keeper acts first."""
    lease = Lease(began=BEGAN, idle=600, max_runtime=1000)
    (ask,) = only(Keeper(session(lease=lease), now=BEGAN + 100).begun, AskWork)
    assert (ask.seconds, ask.idle) == (900 + 2 * INTERVAL, 600 + 2 * INTERVAL)
    (ask,) = only(Keeper(session(lease=Lease(began=BEGAN, idle=None))).begun, AskWork)
    assert (ask.seconds, ask.idle) == (None, None)


# --- leases ---


def test_idleness_needs_an_answer() -> None:
    """Only the moment of the answer counts: a failure, silence and an old answer end nothing."""
    keeper = Keeper(session())
    keeper.feed(WorkSeen("a", False))
    assert only(keeper.after(7200), Release) == []  # the answer is two hours old
    assert only(keeper.feed(Failed("a", "work", "no network")), Release) == []
    keeper.after(INTERVAL)
    assert only(keeper.feed(WorkSeen("a", None)), Release) == []
    keeper.after(INTERVAL)
    assert [item.reason for item in only(keeper.feed(WorkSeen("a", False)), Release)] == ["idle"]


def test_work_is_noted_and_puts_idleness_off() -> None:
    keeper = Keeper(session())
    keeper.now += 3000
    (note,) = only(keeper.feed(WorkSeen("a", True)), Note)
    assert note.lease.last_work == keeper.now
    keeper.after(INTERVAL)
    keeper.now += 3000
    assert only(keeper.feed(WorkSeen("a", False)), Release) == []
    keeper.after(INTERVAL)
    keeper.now += 600
    assert [item.reason for item in only(keeper.feed(WorkSeen("a", False)), Release)] == ["idle"]


def test_a_use_that_the_runtime_tells_of_puts_idleness_off() -> None:
    """Also one by another machine. It is no work, so that no socket is held for it; an older one changes nothing."""
    keeper = Keeper(session())
    keeper.now += 5000
    assert kinds(keeper.feed(WorkSeen("a", False, ago=100.0))) == ["AskWork", "Note"]
    assert keeper.runtime().lease.last_work == keeper.now - 100
    keeper.feed(WorkSeen("a", False, ago=500.0))
    assert keeper.runtime().lease.last_work == keeper.now - 100
    keeper.now += 3600
    assert [item.reason for item in only(keeper.feed(WorkSeen("a", False, ago=3700.0)), Release)] == ["idle"]


def test_the_end_of_time_needs_no_answer() -> None:
    """Whatever the runtime does, and although every question fails."""
    lease = Lease(began=BEGAN, max_runtime=600)
    keeper = Keeper(session(lease=lease))
    keeper.feed(WorkSeen("a", True))
    keeper.feed(Failed("a", "ping", "no network"))
    assert only(keeper.after(599), Release) == []
    assert [item.reason for item in only(keeper.after(1), Release)] == ["runtime"]
    assert keeper.after(3600) == []  # nothing else is begun while it is being released


def test_a_release_that_fails_is_tried_again() -> None:
    keeper = Keeper(session(lease=Lease(began=BEGAN, max_runtime=600)))
    keeper.after(600)
    assert only(keeper.feed(Failed("a", "release", "no network")), Release) == []
    assert kinds(only(keeper.after(INTERVAL), Release)) == ["Release"]
    keeper.look(session(stage="closing", lease=Lease(began=BEGAN, max_runtime=600, ended="runtime")))
    keeper.feed(Released("a", False))
    (again,) = only(keeper.after(INTERVAL), Release)
    assert again.reason is None  # why is written already
    keeper.feed(Released("a", True))
    assert keeper.after(INTERVAL - 1) == []
    assert keeper.look() == [Withdraw()]


def test_nothing_is_asked_of_what_was_released() -> None:
    """The store says so in a moment; until then, no ping keeps it alive."""
    keeper = Keeper(session(lease=Lease(began=BEGAN, max_runtime=600)))
    keeper.feed(Pinged("a", "taken"))
    keeper.after(600)
    assert keeper.feed(Released("a", True)) == []
    assert keeper.after(INTERVAL - 1) == []
    assert kinds(keeper.after(1)) == ["Release"]  # the store still holds it: once more


def test_a_limit_that_was_raised_meanwhile() -> None:
    """Nothing was released; the new limit counts."""
    keeper = Keeper(session(lease=Lease(began=BEGAN, max_runtime=600)))
    keeper.after(600)
    keeper.look(session(lease=Lease(began=BEGAN, max_runtime=6000)))
    keeper.feed(Outdated("a"))
    assert only(keeper.after(INTERVAL), Release) == []
    assert only(keeper.after(6000), Release)


def test_a_loss_while_it_is_released_leaves_the_release_to_be_confirmed() -> None:
    keeper = Keeper(session(lease=Lease(began=BEGAN, max_runtime=600)))
    keeper.after(600)
    keeper.feed(Lost("a", "work"))
    keeper.look(session(stage="closing"))
    keeper.feed(Released("a", False))
    assert only(keeper.after(INTERVAL), Release)


def test_cost_is_counted_while_a_lease_limits_it() -> None:
    """By the rate of the account, from when the keeper first saw the runtime; unknown time is counted later."""
    assert only(Keeper(session()).begun, AskAccount) == []
    lease = Lease(began=BEGAN, max_units=1.0)
    keeper = Keeper(session(lease=lease), session("b"))
    assert only(keeper.begun, AskAccount) == [AskAccount("colab")]
    keeper.feed(AccountSeen("colab", 1.2))
    assert only(keeper.after(1800), AskAccount) == [AskAccount("colab")]
    keeper.feed(Failed("", "account", "no network", "colab"))
    assert only(keeper.after(600), AskAccount) == [AskAccount("colab")]
    noted = only(keeper.feed(AccountSeen("colab", 1.2)), Note)
    assert {item.session: round(item.lease.units, 9) for item in noted} == {"a": 0.8, "b": 0.8}
    keeper.look(session(lease=lease), session("b"))  # the notes are not written yet
    keeper.after(600)
    assert [item.reason for item in only(keeper.feed(AccountSeen("colab", 1.2)), Release)] == ["units"]


def test_a_note_that_cannot_be_written_is_tried_again() -> None:
    keeper = Keeper(session())
    assert only(keeper.feed(WorkSeen("a", True)), Note)
    assert only(keeper.after(1), Note) == []
    (note,) = only(keeper.after(decisions.RETRY), Note)
    keeper.look(session(lease=note.lease))
    assert only(keeper.after(decisions.RETRY), Note) == []


def test_a_new_runtime_begins_anew() -> None:
    """Another runtime of the same session inherits neither the cost nor the answers of the old one."""
    keeper = Keeper(session(lease=Lease(began=BEGAN, max_units=10.0)))
    keeper.feed(WorkSeen("a", True))
    keeper.now += 3600
    keeper.feed(AccountSeen("colab", 1.0))
    keeper.look(session(endpoint="m-2", lease=Lease(began=keeper.now, max_units=10.0)))
    runtime = keeper.runtime()
    assert (runtime.working, runtime.lease.units, runtime.lease.last_work) == (None, 0.0, None)


# --- the keeper itself ---


def test_it_ends_when_nothing_is_held() -> None:
    """Only after a look that comes behind the removal of its record; a session that appears keeps it."""
    keeper = Keeper(session())
    assert keeper.look() == [Withdraw()]
    assert keeper.after(1) == []  # it has not looked yet
    state, actions = step(keeper.state, Looked((session(),)), keeper.now)
    assert state.stage == "keeping"
    assert only(actions, Report)  # its record is there again
    assert keeper.look() == [End("nothing is held")]
    assert keeper.feed(Looked((session(),))) == []  # nothing follows the end


def test_a_store_that_cannot_be_read_proves_nothing() -> None:
    """What was known is kept on with; before the first look, nothing is ended either."""
    keeper = Keeper(session())
    keeper.feed(Unreadable())
    assert keeper.state.stage == "keeping"
    assert keeper.after(INTERVAL) == []
    first = KeeperState(interval=INTERVAL, heard=BEGAN)
    state, actions = step(first, Unreadable(), BEGAN + 10)
    assert (state.stage, actions) == ("keeping", [])
    state, actions = step(first, Unreadable(), BEGAN + DAY + 1)
    assert (state.stage, actions) == ("giving up", [Withdraw()])
    leaving, _ = step(first, Looked(()), BEGAN)
    assert step(leaving, Unreadable(), BEGAN)[1] == [End("nothing is held")]


def test_it_gives_up_after_a_day_of_failures() -> None:
    """But not because of a long sleep: only a failure tells that nobody answers."""
    keeper = Keeper(session())
    keeper.after(2 * DAY)  # asleep
    assert keeper.state.stage == "keeping"
    keeper.feed(Pinged("a", "taken"))
    keeper.after(DAY)
    assert Withdraw() not in keeper.feed(Failed("a", "ping", "no network"))
    keeper.after(INTERVAL)
    assert Withdraw() in keeper.feed(Failed("a", "ping", "no network"))
    assert End("no word from Colab for a day") in keeper.feed()


def test_what_is_reported() -> None:
    """Every change, and every interval a sign of life."""
    keeper = Keeper(session())

    def reports(event: Event | None = None) -> list[Report]:
        keeper.state, actions = step(keeper.state, event, keeper.now)
        return only(actions, Report)

    assert reports() == []
    (report,) = reports(WorkSeen("a", True))
    assert (report.sessions[0].work, report.sessions[0].socket) == ("running", False)
    (report,) = reports(Failed("a", "ping", "no network"))
    assert (report.sessions[0].ping, report.sessions[0].problem) == ("no network", "no network")
    (report,) = reports(SocketOpened("a", "https://x/"))
    assert report.sessions[0].socket is True
    assert reports() == []
    keeper.now += INTERVAL
    assert len(reports()) == 1


# --- what always holds ---

NAMES = ("a", "b")


@st.composite
def answers(draw: st.DrawFn, call: Call) -> Event:
    """Anything that may come of a call."""
    failed = Failed(call.session, call.question, "it failed", getattr(call, "backend", ""))
    match call:
        case AskAccount():
            found: list[Event] = [failed, AccountSeen("colab", None), AccountSeen("colab", 2.0)]
        case Refresh():
            found = [failed, Refreshed(call.session, call.question)]
        case Ping():
            found = [failed, Pinged(call.session, "taken"), Pinged(call.session, "not found")]
        case AskWork():
            found = [failed, *(WorkSeen(call.session, working) for working in (True, False, None))]
        case OpenSocket():
            found = [failed, SocketOpened(call.session, "https://x/")]
        case Release():
            found = [failed]  # what is asserted is that it was begun
    return draw(st.sampled_from(found))


class World:
    """A keeper whose calls are answered in any order, with anything, by a test that checks every step."""

    def __init__(self, data: st.DataObject, **sessions: StoredSession) -> None:
        self.data = data
        self.sessions = sessions
        self.now = BEGAN
        self.state = KeeperState(interval=INTERVAL, heard=BEGAN)
        self.under_way: list[Call] = []
        self.released: dict[str, tuple[float, str | None]] = {}
        self.sockets: set[str] = set()
        self.step(Looked(tuple(sessions.values())))

    def step(self, event: Event | None) -> None:
        self.state, actions = step(self.state, event, self.now)
        for action in actions:
            if isinstance(action, Release):
                if action.reason == "idle":
                    assert isinstance(event, WorkSeen), event
                    assert (event.session, event.working) == (action.session, False)
                self.released.setdefault(action.session, (self.now, action.reason))
            if isinstance(action, Call):
                alike = [(item.session, item.question) for item in self.under_way]
                assert (action.session, action.question) not in alike, "the same question twice"
                self.under_way.append(action)
            if isinstance(action, Note):
                stored = self.sessions[action.session]
                self.sessions[action.session] = structs.replace(stored, lease=action.lease)

    def go(self, seconds: float) -> None:
        """Let time pass as the daemon does, with answers as they come."""
        until = self.now + seconds
        while self.now < until:
            self.now += self.data.draw(st.sampled_from([7.0, 30.0]))
            self.step(None)
            for _ in range(self.data.draw(st.integers(0, len(self.under_way)))):
                call = self.under_way.pop(self.data.draw(st.integers(0, len(self.under_way) - 1)))
                self.step(self.data.draw(answers(call)))


@given(st.data())
def test_a_limit_is_kept_whatever_the_order_of_the_answers(data: st.DataObject) -> None:
    """A runtime whose time is over is released at once, whatever else is slow, fails, or is never answered."""
    limit = data.draw(st.floats(1, 200))
    a = session(lease=Lease(began=BEGAN, max_runtime=limit), token_due=BEGAN + 50)
    world = World(data, a=a, b=session("b", lease=Lease(began=BEGAN, idle=None)))
    world.go(limit + 31)
    at, reason = world.released["a"]
    assert reason == "runtime"
    assert BEGAN + limit <= at <= BEGAN + limit + 30
    assert "b" not in world.released


@given(st.data())
def test_only_an_answer_ends_idleness(data: st.DataObject) -> None:
    """`World` checks that each release for idleness comes in the very step of an answer that says: no work."""
    world = World(data, a=session(lease=Lease(began=BEGAN, idle=100)), b=session("b", kernel="k2"))
    world.go(300)
    if "a" in world.released:
        assert world.released["a"][0] >= BEGAN + 100
        assert world.released["a"][1] == "idle"


@given(st.data())
def test_silence_ends_nothing(data: st.DataObject) -> None:
    """A runtime that cannot be asked is never idle, however long that takes."""
    world = World(data, a=session(lease=Lease(began=BEGAN, idle=100)))
    for _ in range(data.draw(st.integers(1, 40))):
        world.now += data.draw(st.floats(0, 500))
        world.step(None)
        for call in world.under_way[:]:
            if data.draw(st.booleans()):
                world.under_way.remove(call)
                silence: list[Event] = [Failed(call.session, call.question, "silence")]
                if isinstance(call, AskWork):
                    silence.append(WorkSeen(call.session, None))
                world.step(data.draw(st.sampled_from(silence)))
    assert world.released == {}


def test_a_clock_that_was_set_back_makes_no_lease_longer() -> None:
    """What is later than now is corrected, here and in the store, and idleness counts from now."""
    ahead = session(kernel=None, lease=Lease(began=BEGAN + 2400, idle=600.0), used=BEGAN + 2500)
    keeper = Keeper(ahead)
    assert SetBack("a") in keeper.begun
    keeper.look(session(kernel=None, lease=Lease(began=BEGAN, idle=600.0), used=BEGAN))
    assert SetBack("a") not in keeper.after(1)
    assert not any(isinstance(action, Release) for action in keeper.after(600))
    assert any(isinstance(action, Release) for action in keeper.after(INTERVAL))


def test_a_clock_that_differs_a_little_is_left_alone() -> None:
    assert SetBack("a") not in Keeper(session(used=BEGAN + 30)).begun


@given(st.data(), st.sampled_from(["token", "ping", "listing", "work", "socket"]))
def test_no_question_hinders_another(data: st.DataObject, stuck: str) -> None:
    """One kind of question is never answered; every other one is still asked, of both runtimes, each interval."""
    tokens = session(token_due=BEGAN), session("b", token_due=BEGAN)
    world = World(data, a=tokens[0], b=tokens[1])
    asked: dict[tuple[str, str], int] = {}
    for _ in range(5):
        for _ in range(3):  # answers make questions: two pings that find nothing ask the listing
            for call in [item for item in world.under_way if item.question != stuck]:
                world.under_way.remove(call)
                asked[call.session, call.question] = asked.get((call.session, call.question), 0) + 1
                answer: Event = Failed(call.session, call.question, "it failed")
                if isinstance(call, AskWork):
                    answer = WorkSeen(call.session, True)
                if isinstance(call, Ping):
                    answer = Pinged(call.session, "not found")
                world.step(answer)
        world.now += INTERVAL
        world.step(None)
    expected = {"token": 5, "ping": 5, "listing": 1, "work": 5, "socket": 5} | {stuck: 0}
    if stuck == "ping":
        expected["listing"] = 0
    if stuck == "work":
        expected["socket"] = 0
    for name in NAMES:
        for question, least in expected.items():
            assert asked.get((name, question), 0) >= least, (name, question, asked)
