"""Random sequences of commands, kills and misbehaviour of Google's, on two machines of one account. After every step,
nothing held is forgotten, nothing live is called gone, and no second runtime was bought; in the end all is released.

hypothesis chooses the steps; a seed always chooses the same ones. What happens within a step depends on the machine's
speed as well, so that a failing seed may have to be repeated to fail again.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import trustme
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from lecoder_cgpu.sessions import keeper_process
from lecoder_cgpu.testing.colab import FakeColab
from lecoder_cgpu.testing.state import Switches
from tests.support import clock, hollow
from tests.support.cli import Cli
from tests.support.life import DISTURBANCES, LIMIT, Command, Machine, Moment, Step, World
from tests.support.wait import wait_until

STEPS = 7
ENDINGS = ("close", "close", "close", "keeper", "lease")
LOOKS = (
    ("sessions", "list"),
    ("sessions", "list"),
    ("status",),
    ("usage",),
    ("sessions", "clean"),
    ("job", "list"),
    ("keeper", "status"),
)
STARTS = (
    ("sessions", "ensure", "a", "--cpu"),
    ("sessions", "ensure", "a", "--cpu"),
    ("sessions", "ensure", "b", "--gpu", "T4"),
    ("run", "--cpu", "true"),
    ("run", "true"),
    ("run", "true"),
    ("run", "-s", "a", "true"),
    ("run", "--detach", "sleep 12"),
    ("run", "--cpu", "--new-runtime", "true"),
    ("run", "--rm", "--cpu", "true"),
    ("sessions", "ensure", "a", "--cpu", "--idle-release", "2s"),
    ("run", "--cpu", "--max-runtime", "3s", "true"),
)
ENDS = (
    ("sessions", "close"),
    ("sessions", "close", "a"),
    ("sessions", "close", "b"),
    ("sessions", "close", "--all"),
    ("sessions", "close", "--orphans"),
)
KILLS = (signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
CLOCKS = (2400, -2400, 0)  # by how many seconds a machine's clock may be wrong
SLOWEST_START = 2.0  # seconds; by then, whatever was asked for is there
KILL_LIMIT = 3.0  # seconds after which a command is killed wherever it is

machines = st.sampled_from((0, 0, 0, 1))
any_command = st.sampled_from((*STARTS, *STARTS, *ENDS, *LOOKS[:3]))

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waits for processes that are not its children (Linux)"),
    pytest.mark.timeout(600),
]


@dataclass(frozen=True)
class Kill:
    """A signal for a command: how many requests after its start it comes, and how many seconds later.

    `path`: a part of the paths of the requests that count.
    """

    number: int
    requests: int
    pause: float
    path: str = ""


@dataclass
class Stage:
    """What all sequences share, and the one that runs."""

    colab: FakeColab
    folder: Path
    hollow: str
    sequences: int = 0
    figures: Counter[str] = field(default_factory=Counter)
    failure: BaseException | None = None
    world: World | None = None

    def begin(self) -> World:
        """A fresh account, and two machines that are logged in to it."""
        self.sequences += 1
        for name, value in asdict(Switches(keep_alive="empty", idle_limit=1e9, max_lifetime=1e9)).items():
            setattr(self.colab.switches, name, value)
        account = self.colab.add_account(f"user{self.sequences}@example.com", max_vms=5)
        account.upgrade("PRO")
        world = self.world = World(self.colab, account, [])
        for name in ("one", "two"):
            variables = {"SSL_CERT_FILE": str(self.folder / "authority.pem")}  # quicker to read than the system's
            cli = Cli(self.folder / f"{self.sequences}-{name}", variables)
            self.colab.configure(cli.home / "config", account=account)
            machine = Machine(name, cli)
            if (library := clock.library(self.folder)) is not None:
                machine.clock = clock.Clock(cli.home / "clock", library)
                cli.variables |= machine.clock.variables
            world.machines.append(machine)
        return world


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("life")
    trustme.CA().cert_pem.write_to_path(str(folder / "authority.pem"))
    with FakeColab(folder / "colab") as colab:
        colab.warm_up()
        yield Stage(colab, folder, hollow.python(folder))


def step(function: Callable[..., None]) -> Callable[..., None]:
    """A rule that does nothing once something has failed, and after which the account must be in order."""

    @functools.wraps(function)
    def wrapped(self: LifeCycle, *arguments: Any, **choices: Any) -> None:
        if self.world is None or self.stage.failure is not None:
            return
        self.world.note(f"{function.__name__} {' '.join(map(str, choices.values()))}")
        self.stage.figures["steps"] += 1
        with self.blamed():
            function(self, *arguments, **choices)
            self.world.check()

    return wrapped


class LifeCycle(RuleBasedStateMachine):
    """hypothesis always begins with the simplest example, the same for every seed: that one does nothing."""

    stage: Stage

    def __init__(self, idle: bool) -> None:
        super().__init__()
        self.world = None if idle else self.stage.begin()
        self.started: list[Command] = []

    @contextlib.contextmanager
    def blamed(self) -> Iterator[None]:
        """Keep what goes wrong, for the end: hypothesis itself would repeat it and find that it is not the same."""
        try:
            yield
        except Exception as error:
            self.stage.failure = error
            if self.world is not None:
                self.world.note(f"FAILED: {error}")

    # --- commands ---

    def run(self, machine: Machine, words: tuple[str, ...]) -> Step:
        """Run one command to its end, and judge it."""
        (done,) = self.run_all([(machine, words)])
        return done

    def run_all(self, orders: list[tuple[Machine, tuple[str, ...]]], kill: Kill | None = None) -> list[Step]:
        """Run commands at the same time, and judge them. `kill` is for the first."""
        assert self.world is not None
        before, quiet, number = self.world.now(), self.world.quiet, None
        requests = len(self.world.colab.requests)
        started = [machine.start(words) for machine, words in orders]
        self.started += started
        self.stage.figures["commands"] += len(started)
        if kill is not None and self.kill(started[0], kill, requests):
            number = kill.number
        codes = [command.wait(LIMIT) for command in started]
        after = self.world.now()
        alone = len(orders) == 1 and not any(keeper_process.read(item.state) for item in self.world.machines)
        done = []
        for (machine, words), command, code in zip(orders, started, codes, strict=True):
            out, err = command.out.read_text(), command.err.read_text()
            sent = number if command is started[0] else None
            self.world.note(
                f"    {machine.name}: {' '.join(words)} -> {code} {told(out)} {' '.join(err.split())[-600:]}"
            )
            assert code is not None, f"{' '.join(words)} does not end"
            done.append(Step(machine, words, code, out, err, before, after, sent, alone, quiet))
        self.learn(before, after, done)
        for item in done:
            item.judge()
        if len(done) > 1 and {item.words[:3] for item in done} == {done[0].words[:3]}:
            self.judge_one(done)
        return done

    def kill(self, command: Command, kill: Kill, begin: int) -> bool:
        """Send a signal in time; False if the command ended before. `begin`: where its requests begin in the log."""
        assert self.world is not None
        until, requests = time.monotonic() + KILL_LIMIT, self.world.colab.requests
        while sum(kill.path in request.path for request in requests[begin:]) < kill.requests:
            if command.wait(0.003) is not None:
                return False
            if time.monotonic() > until:
                break
        if command.wait(kill.pause) is not None:
            return False
        self.world.note(f"    {signal.Signals(kill.number).name}")
        self.stage.figures["kills"] += 1
        command.process.send_signal(kill.number)
        return True

    def learn(self, before: Moment, after: Moment, done: list[Step]) -> None:
        """Which runtimes ended without a machine's commands having been told so."""
        assert self.world is not None
        ended = set(before.live) - set(after.live)
        for machine in self.world.machines:
            told = [item for item in done if item.machine is machine and item.code == 0]
            if not told:
                machine.unaware |= ended

    def judge_one(self, done: list[Step]) -> None:
        """The same start several times at once is one start."""
        words = done[0].words
        if words[0] not in ("run", "sessions") or words[1] == "close" or {"--rm", "--new-runtime"} & set(words):
            return
        machines, before, after = {item.machine.name for item in done}, done[0].before, done[0].after
        leases = [record.lease for records in (*before.records.values(), *after.records.values()) for record in records]
        began = done[0].began
        if any(lease is not None and min(lease.idle or 60, lease.max_runtime or 60) < 60 for lease in leases):
            began = len(
                set(after.live) - set(before.live)
            )  # a keeper may have ended some, and others took their places
        assert began <= len(machines), f"{began} runtimes were started by {len(done)} equal commands"

    # --- steps ---

    @initialize(
        plan=st.sampled_from(ENDINGS),
        keeper=st.sampled_from((False, False, True)),
        kernels=st.sampled_from((*[False] * 7, True)),
        words=st.sampled_from(STARTS),
    )
    def begin(self, plan: str, keeper: bool, kernels: bool, words: tuple[str, ...]) -> None:
        """How the sequence will end, whether there are keepers, and whether runtimes have kernels, which takes time."""
        self.plan = plan
        if self.world is not None:
            self.world.note(f"begin {plan}{' keeper' if keeper else ''}{' kernels' if kernels else ''}")
            self.world.colab.world.python = sys.executable if kernels else self.stage.hollow
            for machine in self.world.machines:
                self.switch_keeper(machine, keeper)
            self.starts(at=0, words=words)

    def switch_keeper(self, machine: Machine, on: bool) -> None:
        state = "on" if on else "off"
        machine.cli.variables |= {"LECODER_CGPU_KEEPER": state, "LECODER_CGPU_KEEPER_INTERVAL": "0.4"}

    @rule(at=machines, words=st.sampled_from(STARTS))
    @step
    def starts(self, at: int, words: tuple[str, ...]) -> None:
        assert self.world is not None
        done = self.run(self.world.machines[at], words)
        if "--rm" in words and done.code == 0 and self.world.colab.switches.unassign == "works":
            reason = json.loads(done.out)["release"].get("reason")
            assert reason or not set(done.after.live) - set(done.before.live), "--rm has left a runtime"

    @rule(at=machines, words=st.sampled_from(STARTS))
    @step
    def starts_again(self, at: int, words: tuple[str, ...]) -> None:
        """The same rule once more: without runtimes there is nothing to test."""
        assert self.world is not None
        self.run(self.world.machines[at], words)

    @rule(at=machines, words=st.sampled_from(LOOKS))
    @step
    def looks(self, at: int, words: tuple[str, ...]) -> None:
        assert self.world is not None
        self.run(self.world.machines[at], words)

    @rule(at=machines, words=st.sampled_from(ENDS))
    @step
    def ends(self, at: int, words: tuple[str, ...]) -> None:
        assert self.world is not None
        self.run(self.world.machines[at], words)

    @rule(
        at=machines,
        words=any_command,
        number=st.sampled_from(KILLS),
        requests=st.integers(0, 12),
        pause=st.sampled_from((0, 3, 10, 30)),
    )
    @step
    def is_killed(self, at: int, words: tuple[str, ...], number: int, requests: int, pause: int) -> None:
        assert self.world is not None
        self.run_all([(self.world.machines[at], words)], Kill(number, requests, pause / 1000))

    @rule(at=machines, words=any_command, number=st.sampled_from(KILLS), pause=st.integers(100, 1500))
    @step
    def is_killed_later(self, at: int, words: tuple[str, ...], number: int, pause: int) -> None:
        assert self.world is not None
        self.run_all([(self.world.machines[at], words)], Kill(number, 1, pause / 1000))

    @rule(at=machines, words=st.sampled_from(ENDS[:4]), number=st.sampled_from(KILLS))
    @step
    def is_killed_while_google_hangs(self, at: int, words: tuple[str, ...], number: int) -> None:
        assert self.world is not None
        switches = self.world.colab.switches
        earlier, switches.unassign = switches.unassign, "hangs"
        try:
            self.run_all([(self.world.machines[at], words)], Kill(number, 2, 0.2, "/unassign/"))
        finally:
            switches.unassign = earlier

    @rule(orders=st.lists(st.tuples(machines, any_command), min_size=2, max_size=2))
    @step
    def at_once(self, orders: list[tuple[int, tuple[str, ...]]]) -> None:
        assert self.world is not None
        self.run_all([(self.world.machines[at], words) for at, words in orders])

    @rule(at=machines, words=st.sampled_from(STARTS), times=st.integers(2, 3))
    @step
    def the_same_at_once(self, at: int, words: tuple[str, ...], times: int) -> None:
        assert self.world is not None
        self.run_all([(self.world.machines[at], words)] * times)

    @rule(at=machines, what=st.sampled_from(("on", "stop", "kill", "off")))
    @step
    def keeper(self, at: int, what: str) -> None:
        assert self.world is not None
        machine = self.world.machines[at]
        if what in ("on", "off"):
            self.switch_keeper(machine, what == "on")
        elif what == "stop":
            self.run(machine, ("keeper", "stop"))
        elif (found := keeper_process.read(machine.state)) is not None and keeper_process.is_alive(found):
            self.stage.figures["kills"] += 1
            os.kill(found.pid, signal.SIGKILL)

    @rule(at=machines, which=st.integers(0, 3))
    @step
    def adopts(self, at: int, which: int) -> None:
        """A machine takes over what the account holds: a browser's runtime, or the other machine's."""
        assert self.world is not None
        held = self.world.held()
        endpoint = held[which % len(held)] if held else "m-s-nothing"
        adopted = self.world.adopted
        self.world.adopted = adopted | {endpoint}  # what the answer says of it is judged, too
        done = self.run(self.world.machines[at], ("sessions", "adopt", endpoint, "--name", f"taken-{which}"))
        if done.code != 0:
            self.world.adopted = adopted

    @rule(at=machines, seconds=st.sampled_from(CLOCKS))
    @step
    def clock(self, at: int, seconds: int) -> None:
        """The clock of a machine is set, before or back."""
        assert self.world is not None
        self.world.machines[at].set_clock(seconds)

    @rule(what=st.sampled_from(DISTURBANCES), which=st.integers(0, 3))
    @step
    def google(self, what: str, which: int) -> None:
        """Google, a browser or the network does something."""
        assert self.world is not None
        self.world.disturb(what, which)

    @rule(what=st.sampled_from(DISTURBANCES), which=st.integers(0, 3))
    @step
    def google_again(self, what: str, which: int) -> None:
        assert self.world is not None
        self.world.disturb(what, which)

    # --- the end ---

    def teardown(self) -> None:
        if self.world is None:
            return
        with self.blamed():
            if self.stage.failure is None:
                self.world.heal()
                self.finish()
        self.clear()

    def finish(self) -> None:
        """Everything is released."""
        assert self.world is not None
        self.world.note(f"the end: {self.plan}")
        for machine in self.world.machines:
            if self.plan != "close":
                self.switch_keeper(machine, True)
                self.run(machine, ("sessions", "list"))
                wait_until(lambda: not self.world.owed(machine))  # type: ignore[union-attr]  # noqa: B023
            if self.plan == "lease":
                self.shorten(machine)
                wait_until(lambda: not self.world.now().of(machine))  # type: ignore[union-attr]  # noqa: B023
            for _ in range(4):
                closed = self.run(machine, ("sessions", "close", "--all"))
                if closed.code == 0 or not json.loads(closed.out)["error"]["retryable"]:
                    break  # else a keeper is at work on it, and the user is told to repeat it
            if closed.code == 74 and json.loads(closed.out)["error"]["name"] == "StartUnanswered":
                # Killed between writing down that it asks and asking: for four minutes nobody here can know.
                time.sleep(SLOWEST_START)
                closed = self.run(machine, ("sessions", "close", "--all", "--force"))
            assert closed.code == 0, "not everything could be closed"
            left = set(self.world.now().of(machine))
            assert not left, f"{', '.join(left)} lives after everything was closed"
            if self.plan != "close":
                wait_until(lambda: not keeper_process.path(machine.state).exists())  # noqa: B023
        left = set(self.world.now().live)
        assert not left, f"{', '.join(left)} lives after everything was closed"

    def shorten(self, machine: Machine) -> None:
        """Every session may be idle for a second from now on, but for those that a limit of theirs has ended."""
        for record in machine.records():
            done = self.run(machine, ("sessions", "ensure", record.name, "--idle-release", "1s"))
            ended = done.code == 69 and json.loads(done.out)["error"]["name"] == "LeaseEnded"
            assert done.code == 0 or ended, "a session that is held cannot be used"

    def clear(self) -> None:
        """Leave nothing for the next sequence."""
        assert self.world is not None
        for command in self.started:
            if command.wait(0) is None:
                command.process.send_signal(signal.SIGKILL)
                command.wait(LIMIT)
        for machine in self.world.machines:
            keeper_process.stop(machine.state)
        self.world.colab.mend()
        for vm in [vm for vm in self.world.colab.vms.values() if vm.account is self.world.account]:
            self.world.colab.kill(vm)
        self.world.colab.requests.clear()


def told(out: str) -> str:
    """A document in short, for the journal."""
    with contextlib.suppress(ValueError):
        return json.dumps(json.loads(out), separators=(",", ":"))[:1500]
    return repr(out[:300])


def test_life_cycle(stage: Stage, life_seed: int) -> None:
    """One sequence. To repeat seed 17: `pytest tests/chaos/test_life_cycle.py --chaos 17:18`."""
    made: list[LifeCycle] = []

    class Sequence(LifeCycle):
        def __init__(self) -> None:
            super().__init__(idle=not made)
            made.append(self)

    Sequence.stage = stage
    stage.failure, stage.figures = None, Counter()
    run_state_machine_as_test(
        hypothesis.seed(life_seed)(Sequence),
        settings=settings(
            max_examples=2,
            stateful_step_count=STEPS,
            phases=[Phase.generate],
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    figures = ", ".join(f"{count} {name}" for name, count in sorted(stage.figures.items()))
    print(f"seed {life_seed}: {figures}")
    if stage.world is not None:
        print("\n".join(stage.world.journal))
    if stage.failure is not None:
        pytest.fail(f"seed {life_seed}: {type(stage.failure).__name__}: {stage.failure}", pytrace=False)
