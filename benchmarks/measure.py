"""Timing, the table of results, and the warm local runtime that everything is measured on."""

from __future__ import annotations

import contextlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from lecoder_cgpu.config import Config
from lecoder_cgpu.sessions.manager import SessionManager
from lecoder_cgpu.warm import control

FLOOR = Path(__file__).with_name("floor.py")
TOOL = [sys.executable, "-m", "lecoder_cgpu"]
LINES = "for i in range(200_000): print(i)"
TOLERANCE = 1.1  # how far a target may be missed before that counts as a failure


class Aim(NamedTuple):
    """What a figure is to be: at most (or at least) so much."""

    limit: float
    unit: str = "x"
    least: bool = False

    def __str__(self) -> str:
        return f"{'at least' if self.least else 'at most'} {self.limit:g} {self.unit}".rstrip()

    def excess(self, value: float) -> float:
        """How many times the limit the figure is; beyond 1, it is missed."""
        if self.least:
            return self.limit / value if value else float("inf")
        return value / self.limit


@dataclass
class Table:
    """The figures, printed as they come; `rows` is what a JSON file gets."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)  # by more than `TOLERANCE`

    def add(self, name: str, figure: str, value: float = 0.0, aim: Aim | None = None, **numbers: Any) -> None:
        """One line: a name, the figure as people read it, its value, and what was aimed at."""
        verdict = ""
        if aim is not None:
            excess = aim.excess(value)
            verdict = "met" if excess <= 1 else "nearly" if excess <= TOLERANCE else "MISSED"
            if excess > TOLERANCE:
                self.missed.append(name)
        print(f"{name:<50} {figure:<58} {f'{aim}: {verdict}' if aim else ''}".rstrip(), flush=True)
        row = {"name": name, "figure": figure, "target": str(aim) if aim else None, "verdict": verdict or None}
        self.rows.append({key: value for key, value in {**row, **numbers}.items() if value is not None})

    def ratio(
        self, name: str, pairs: list[tuple[float, float]], most: float | None, remark: str = "", **numbers: Any
    ) -> None:
        """One line for pairs of times, ours and the floor's, taken in turn."""
        ours, floor = (statistics.median(side) for side in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        self.add(
            name,
            f"{ratio:5.2f} x   ({1000 * ours:.0f} ms, floor {1000 * floor:.0f} ms{remark})",
            ratio,
            None if most is None else Aim(most),
            ratio=round(ratio, 3),
            milliseconds=round(1000 * ours, 1),
            floorMilliseconds=round(1000 * floor, 1),
            **numbers,
        )

    def commands(
        self, name: str, command: list[str], floor: list[str], rounds: int, most: float | None, prepared: bool = False
    ) -> None:
        """One line for a command and its floor, taken in turn, so that a machine whose speed drifts favours neither.

        Beside wall time stands the ratio of processor time, in which other work on the machine hardly shows.
        `prepared`: a prepared process does the command.
        """
        how = timed_prepared if prepared else timed
        how(command), timed(floor)
        pairs = [(how(command), timed(floor)) for _ in range(rounds)]
        processor = sum(one[1] for one, _ in pairs) / sum(least[1] for _, least in pairs)
        self.ratio(
            name,
            [(one[0], least[0]) for one, least in pairs],
            most,
            f"; processor {processor:.2f} x",
            processorRatio=round(processor, 3),
        )


def timed(command: list[str], environment: dict[str, str] | None = None) -> tuple[float, float]:
    """Seconds that the command takes, by the clock and of the processor; its output goes through a pipe and is read, as
    an agent would."""
    began, used = time.perf_counter(), _processor_time()
    done = subprocess.run(command, capture_output=True, check=True, stdin=subprocess.DEVNULL, env=environment)
    taken = time.perf_counter() - began
    assert done.stdout, command
    return taken, _processor_time() - used


def timed_prepared(command: list[str]) -> tuple[float, float]:
    """The same with a prepared process, which is started where there is none yet; what its child uses counts, too."""
    environment = {**os.environ, "LECODER_CGPU_WARM": "always"}
    while not (said := control.ask("counts")):
        timed(command, environment)
        time.sleep(1)
    ticks = Path(f"/proc/{said[0].split()[0]}/stat")
    before = _buried(ticks)
    taken, used = timed(command, environment)
    time.sleep(0.05)  # until the child is buried
    assert control.ask("counts") != said, "the prepared process did not do it"
    return taken, used + _buried(ticks) - before


def _buried(stat: Path) -> float:
    """Seconds of the processor that the children of a process have used which have ended."""
    user, system = stat.read_text().rpartition(")")[2].split()[13:15]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _processor_time() -> float:
    """What all children that have ended have used so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@dataclass
class Runtime:
    """A local runtime with a warm kernel and a warm helper."""

    client: SessionManager
    folder: Path

    @property
    def kernel(self) -> str:
        """The id of the session's kernel, which is recorded."""
        session = self.client.session()
        assert session.record.kernel is not None
        return session.record.kernel.id

    def floor(self, code: str, kernel: str | None = None) -> list[str]:
        """The command that runs code in a kernel with the least that any client must do."""
        endpoint = self.client.session().endpoint
        url = f"{endpoint.url.replace('http', 'ws', 1)}api/kernels/{kernel or self.kernel}/channels?session_id=floor"
        return [sys.executable, str(FLOOR), url, endpoint.token or "", code]


@contextlib.contextmanager
def local_runtime() -> Iterator[Runtime]:
    """A warm local runtime in a folder of its own, ended afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled
        os.environ |= {
            "LECODER_CGPU_CONFIG_DIR": folder,
            "LECODER_CGPU_BACKEND": "local",
            "LECODER_CGPU_RESIDENT_HOME": str(Path(folder) / "resident"),
            "XDG_RUNTIME_DIR": folder,  # where prepared processes are looked for
        }
        subprocess.run([*TOOL, "run", "-m", "kernel", "1"], check=True, capture_output=True)
        subprocess.run([*TOOL, "run", "true"], check=True, capture_output=True)
        try:
            yield Runtime(SessionManager(Config()), Path(folder))
        finally:
            control.ask("stop")
            control.ask("stop", kept=True)
            subprocess.run([*TOOL, "sessions", "close", "--all"], check=True, capture_output=True)
