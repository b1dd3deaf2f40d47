"""What is true of an account's runtimes, from the fake's own books, and what commands say of it."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from lecoder_cgpu.auth.login_files import Files
from lecoder_cgpu.backends.colab.web_plane import notebook_hash
from lecoder_cgpu.store import lifecycle, owners
from lecoder_cgpu.store.session_store import Record, Store
from lecoder_cgpu.testing.colab import FakeColab
from lecoder_cgpu.testing.state import Account
from lecoder_cgpu.testing.vms import VM

from .cli import Cli
from .clock import Clock

LIMIT = 100.0  # seconds for any command, on a busy machine
GONE = re.compile(r"runtime of session '([^']+)'(?: \([^)]*\))? (?:is|was) gone")
DISTURBANCES = (
    "blink 1",
    "blink 3",
    "every row twice",
    "one row",
    "listing fails",
    "unassign fails",
    "unassign works",
    "linger",
    "move",
    "expire",
    "an hour",
    "kill",
    "browser",
    "answer lost",
    "slow boot",
    "slow start",
    "no capacity",
    "revoke",
    "log in",
)
LISTING = "GET /tun/m/assignments"
Records = dict[str, list[Record]]  # by machine


@dataclass(frozen=True)
class Moment:
    """The truth at one moment: the living runtimes that are not a browser's, how many there ever were, and what each
    machine has written down."""

    live: dict[str, VM]
    count: int
    records: Records

    def of(self, machine: Machine) -> dict[str, str]:
        """The living runtimes that a machine has a record of: endpoint and the session's name."""
        found = {}
        for record in self.records[machine.name]:
            if record.runtime.endpoint in self.live:
                found[record.runtime.endpoint] = record.name
            elif not record.runtime.endpoint and record.allocation is not None and record.allocation.key is not None:
                nbh = notebook_hash(record.allocation.key)
                found |= {vm.endpoint: record.name for vm in self.live.values() if vm.nbh == nbh}
        return found

    def record(self, machine: Machine, name: str) -> Record | None:
        return next((item for item in self.records[machine.name] if item.name == name), None)


@dataclass
class Command:
    """A command that was started, and the files that its output goes to."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    def wait(self, limit: float) -> int | None:
        """The exit status, negative for a signal; None if the process has not ended within `limit` seconds."""
        try:
            return self.process.wait(limit)
        except subprocess.TimeoutExpired:
            return None


@dataclass
class Machine:
    """A machine of the user's: a configuration folder, and commands there. `unaware`: the runtimes that ended without
    a command of this machine having learnt that."""

    name: str
    cli: Cli
    unaware: set[str] = field(default_factory=set)
    commands: int = 0
    clock: Clock | None = None  # None where it cannot be set

    @property
    def state(self) -> Path:
        return self.cli.state

    def records(self) -> list[Record]:
        return Store(self.state).records()

    def set_clock(self, seconds: float) -> None:
        """Set the clock this many seconds before or behind the time, where that can be done."""
        if self.clock is not None:
            self.clock.wrong_by(seconds)

    def start(self, words: tuple[str, ...]) -> Command:
        """Start a command that answers with a document."""
        self.commands += 1
        words = (*words[:-1], "--json", words[-1]) if words[0] == "run" else (*words, "--json")
        out, err = (self.cli.home / f"{self.commands}.{kind}" for kind in ("out", "err"))
        with out.open("wb") as stdout, err.open("wb") as stderr:
            return Command(self.cli.start(*words, stdout=stdout, stderr=stderr), out, err)


@dataclass
class World:
    """An account of the fake Colab, two machines that use it, and what has happened so far."""

    colab: FakeColab
    account: Account
    machines: list[Machine]
    journal: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    logged_in: bool = True
    adopted: set[str] = field(default_factory=set)  # endpoints that a machine has taken over

    def note(self, text: str) -> None:
        self.journal.append(f"{time.monotonic() - self.began:7.2f}  {text}")

    def now(self) -> Moment:
        """The truth now. What is written down is read first: it is written before anything is asked for."""
        records = {machine.name: machine.records() for machine in self.machines}
        live, count = self.colab.call(self._live)
        return Moment(live, count, records)

    def _live(self) -> tuple[dict[str, VM], int]:
        world = self.colab.world
        ours = [vm for vm in world.of(self.account) if vm.origin == "client" or vm.endpoint in self.adopted]
        found = {vm.endpoint: vm for vm in ours}
        return found, len(world.ended) + len(world.vms)

    def held(self) -> list[str]:
        """Every runtime of the account, a browser's too, in the order in which they were started."""
        held = self.colab.call(lambda: list(self.colab.world.of(self.account)))
        return [vm.endpoint for vm in sorted(held, key=lambda vm: vm.number)]

    def settled(self, problem: Callable[[Moment], str | None]) -> None:
        """Fail with a problem that stays: what is read here is not of one moment while a keeper works."""
        for _ in range(8):
            found = problem(self.now())
            if found is None:
                return
            time.sleep(0.25)
        raise AssertionError(found)

    def check(self) -> None:
        """Every living runtime is written down as held, by one machine at least, and nowhere as gone."""
        self.settled(self._forgotten)

    def _forgotten(self, moment: Moment) -> str | None:
        known: set[str] = set()
        for machine in self.machines:
            known |= set(moment.of(machine))
            for record in moment.records[machine.name]:
                stage = lifecycle.stage(record)
                if record.runtime.endpoint in moment.live and stage in ("lost", "released"):
                    return f"{record.runtime.endpoint} lives, and {machine.name} has {record.name} as {stage}"
        forgotten = set(moment.live) - known
        return f"nobody knows of {', '.join(sorted(forgotten))}" if forgotten else None

    def owed(self, machine: Machine) -> set[str]:
        """The living runtimes that a keeper of this machine has to end by itself."""
        moment = self.now()
        found = moment.of(machine)
        return {
            endpoint
            for endpoint, name in found.items()
            if (record := moment.record(machine, name)) is not None
            and (lifecycle.stage(record) == "closing" or owners.is_gone(record.owner))
        }

    # --- what happens to it ---

    @property
    def quiet(self) -> bool:
        """Whether Google answers as it should."""
        return self.logged_in and not self.colab.switches.blink and not self.colab.world.faults.queue

    def disturb(self, what: str, which: int) -> None:
        """Google, a browser or the network does one of DISTURBANCES, to one of the runtimes where it is about one."""
        colab = self.colab
        live = sorted(self.now().live.values(), key=lambda vm: vm.number)
        vm = live[which % len(live)] if live else None
        match what:
            case "blink 1" | "blink 3":
                colab.switches.blink = int(what[-1])
            case "every row twice" | "one row":
                colab.fail(LISTING, times=2, edit=partial(_listed, twice=what != "one row"))
            case "listing fails":
                colab.fail(LISTING, times=3, status=502)
            case "unassign fails":
                colab.switches.unassign = "fails"
            case "unassign works":
                colab.switches.unassign = "works"
            case "linger":
                colab.switches.linger = 600.0
            case "an hour":
                colab.advance(3700)
            case "browser":
                colab.start_vm(account=self.account)
            case "answer lost":
                colab.fail("POST /tun/m/assign", lose=True)
            case "slow boot":
                colab.switches.boot_requests = 1
            case "slow start":
                colab.fail("POST /tun/m/assign", delay=1.5)
            case "no capacity":
                colab.fail("POST /tun/m/assign", status=503)
            case "revoke":
                colab.revoke_logins()
                self.logged_in = False
            case "log in":
                self.log_in()
            case "move" if vm is not None:
                colab.move(vm)
            case "expire" if vm is not None:
                colab.expire_proxy_tokens(vm)
            case "kill" if vm is not None:
                for machine in self.machines:
                    machine.unaware.add(vm.endpoint)
                colab.kill(vm)

    def log_in(self) -> None:
        for machine in self.machines:
            with Files(machine.state).lock():  # as `auth login` does: a keeper may be forgetting the login that ended
                self.colab.configure(machine.cli.home / "config", account=self.account)
        self.logged_in = True

    def heal(self) -> None:
        """Google is well again, and everybody is logged in."""
        self.colab.mend()
        switches = self.colab.switches
        switches.blink, switches.linger, switches.unassign = 0, 0.0, "works"
        self.colab.advance(3700)  # what lingers is gone
        for machine in self.machines:
            machine.set_clock(0)
        if not self.logged_in:
            self.log_in()


def _listed(document: dict[str, Any], *, twice: bool) -> dict[str, Any]:
    """A listing that has every row twice, or only its last one."""
    rows = document.get("assignments", [])
    return document | {"assignments": rows + rows if twice else rows[-1:]}


@dataclass(frozen=True)
class Step:
    """A command that has ended, and the truth before and after it.

    `signal`: what it was sent, if anything. `alone`: nothing else changed the account's runtimes meanwhile. `quiet`:
    the account's listing was as it should be, and the login good.
    """

    machine: Machine
    words: tuple[str, ...]
    code: int
    out: str
    err: str
    before: Moment
    after: Moment
    signal: int | None
    alone: bool
    quiet: bool

    @property
    def throughout(self) -> set[str]:
        """The runtimes that lived all the time."""
        return set(self.before.live) & set(self.after.live)

    @property
    def ever(self) -> set[str]:
        return set(self.before.live) | set(self.after.live)

    @property
    def began(self) -> int:
        """How many runtimes were started meanwhile, by anybody."""
        return self.after.count - self.before.count

    @property
    def mine(self) -> dict[str, str]:
        """The runtimes that lived all the time and that this machine knew at the beginning and knows now."""
        first, last = self.before.of(self.machine), self.after.of(self.machine)
        return {endpoint: name for endpoint, name in first.items() if endpoint in last}

    def is_(self, *words: str) -> bool:
        return self.words[: len(words)] == words

    def judge(self) -> None:
        """Fail if the command ended in a way in which none may end, or said something that is not true."""
        self._judge_form()
        document = json.loads(self.out) if self.out.strip() else None
        self._judge_starts()
        self._judge_money(document)
        for text in (self.out, self.err):
            for name in GONE.findall(text):
                assert name not in self.mine.values(), f"{name} is said to be gone, and lives"
        if self.is_("sessions", "list") and isinstance(document, list):
            self._judge_list(document)
        elif isinstance(document, dict) and self.code == 0:
            self._judge_answer(document)

    def _judge_form(self) -> None:
        assert self.code != 70, "it says that it has a bug"
        assert "Traceback" not in self.err, "it shows a traceback"
        if self.signal is None:
            assert self.code >= 0, "it was killed by a signal that nobody sent"
            assert self.out.strip(), "there is no document"
        if self.out.strip():
            try:
                document = json.loads(self.out)
            except ValueError:
                raise AssertionError("stdout is not one document") from None
            assert not (isinstance(document, dict) and document.get("errorCode") == 2099), "it says that it has a bug"

    # --- what was started ---

    def _judge_starts(self) -> None:
        if not self.alone or self.began == 0:
            return
        assert self.began == 1, f"{self.began} runtimes were started by one command"
        named = self.words[self.words.index("-s") + 1] if "-s" in self.words else None
        if self.is_("sessions", "ensure"):
            named = self.words[2]
        elif not self.is_("run"):
            raise AssertionError("a command that starts nothing has started a runtime")
        if "--rm" in self.words or "--new-runtime" in self.words:
            return
        if named is None:
            active = next((item for item in self.before.records[self.machine.name] if item.is_active), None)
            named = None if active is None or {"--cpu", "--gpu"} & set(self.words) else active.name
        record = None if named is None else self.before.record(self.machine, named)
        if record is not None and not lifecycle.is_accepted(record):
            kept = {name for endpoint, name in self.mine.items() if endpoint in self.throughout}
            assert named not in kept, f"a second runtime was started while that of {named} lives"

    # --- what is said to cost ---

    def _judge_money(self, document: Any) -> None:
        if not isinstance(document, dict):
            return
        unaware = {item.runtime.endpoint for item in self.before.records[self.machine.name]} & self.machine.unaware
        may_cost = bool({*self.before.of(self.machine), *self.after.of(self.machine)}) or bool(unaware)
        may_cost = may_cost or not self.alone or self.began > 0
        error = document.get("error")
        billing = error.get("billing") if isinstance(error, dict) else None
        if billing == "none":
            assert not self.mine, f"nothing is said to cost, and {', '.join(self.mine)} lives"
        if billing == "running":
            assert may_cost, "something is said to cost, and nothing lives"
        if "held" not in document and not (self.is_("run") and document.get("status") in ("ok", "error")):
            return
        held = document.get("held", [])
        if self.is_("sessions", "close") and "closed" in document:  # what the account lists
            if "held" in document:
                missing = set(self.mine) - set(held)
                assert not missing, f"the account is said not to hold {', '.join(missing)}"
            return
        if "errorCode" in document and "exitCode" in document and "session" not in document:
            return  # a failure before there was a run: `billing` is about that
        names = {item["session"] for item in held}
        missing = set(self.mine.values()) - names
        assert not missing, f"{', '.join(missing)} lives, and is not among what is held"
        if any(item["certain"] for item in held):
            assert may_cost, "something is said to be held, and nothing lives"

    # --- documents ---

    def _judge_list(self, document: list[dict[str, Any]]) -> None:
        shown = {item["name"]: item for item in document if item.get("origin") == "ours"}
        for endpoint, name in self.mine.items():
            assert name in shown, f"{name} lives, and is not listed"
            assert shown[name]["status"] != "stale", f"{name} lives, and is said to be gone"
            told = shown[name]["runtime"]["endpoint"]
            assert told in (endpoint, ""), f"{name} is {endpoint}, and not {told}"
        for item in shown.values():
            endpoint = item["runtime"]["endpoint"]
            if self.alone and endpoint and endpoint not in self.ever:
                assert item["status"] not in ("active", "idle"), f"{item['name']} is gone, and is said to be there"
        if self.quiet:
            seen = {item["runtime"]["endpoint"] or name for name, item in shown.items()}
            seen |= {item["runtime"]["endpoint"] for item in document}
            missing = {item for item in self.throughout if item not in seen and item not in self.mine}
            assert not missing, f"the account holds {', '.join(missing)}, which is not listed"

    def _judge_answer(self, document: dict[str, Any]) -> None:
        if self.is_("status"):
            for item in document["runtimes"]:
                if item["endpoint"] in self.mine:
                    assert "lost" not in item, f"{item['session']} lives, and is said to be lost"
                if item["connected"] and self.alone:
                    assert item["endpoint"] in self.ever, f"{item['session']} is said to answer, and is gone"
            told = {item["session"] for item in document["runtimes"]}
            assert set(self.mine.values()) <= told, "a session that lives is not in the status"
        elif self.is_("sessions", "close"):
            self._judge_closed(document["closed"])
        elif self.is_("sessions", "clean"):
            records = self.before.records[self.machine.name]
            names = {item.name for item in records if item.id in document["removed"]}
            first = self.before.of(self.machine)
            lost = {name for endpoint, name in first.items() if endpoint in self.throughout} & names
            assert not lost, f"{', '.join(lost)} was forgotten, and lives"
        elif self.is_("sessions", "ensure"):
            endpoint = document["session"]["runtime"]["endpoint"]
            if self.alone:
                assert endpoint in self.ever, "the session's runtime does not live"
                known = self.before.record(self.machine, self.words[2])
                begun = known is None or lifecycle.stage(known) not in ("asked", "booting")  # else nobody has used it
                if begun:
                    was = endpoint in self.before.live
                    assert document["fresh"] == (not was), "it is not true whether it was started"
        elif self.is_("usage") and self.alone and self.began == 0:
            # The fake counts a browser's runtimes, too.
            assert document["units"].get("runtimes", 0) >= len(self.throughout), "a runtime is not counted"

    def _judge_closed(self, closed: Iterable[dict[str, Any]]) -> None:
        for item in closed:
            record = self.before.record(self.machine, item["name"])
            endpoint = item["name"] if record is None else record.runtime.endpoint
            if item["released"] in ("runtime", "nothing") and endpoint:
                assert endpoint not in self.after.live, f"{item['name']} was closed ({item['released']}), and lives"
