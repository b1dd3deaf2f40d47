"""A hundred runs one after the other, as agents make them: here, and over a line whose round trip takes 80 ms."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

from .line import ROUND_TRIP, Line
from .measure import TOOL, Aim, Runtime, Table, timed, timed_prepared

RUNS = 100
RUN = ["run", "-m", "kernel", "print(1)"]


def measure(table: Table, runtime: Runtime, rounds: int) -> None:
    few = min(rounds, 10)  # a hundred take a minute, and each is like the other
    taken = RUNS * statistics.median(timed([*TOOL, *RUN])[0] for _ in range(few))
    table.add(f"{RUNS} warm runs", f"{taken:.1f} s", taken, Aim(9, "s"), seconds=taken)
    if sys.platform == "linux":
        timed_prepared([*TOOL, *RUN])
        environment = {**os.environ, "LECODER_CGPU_WARM": "always"}
        taken = RUNS * statistics.median(timed([*TOOL, *RUN], environment)[0] for _ in range(few))
        table.add("the same by a prepared process", f"{taken:.1f} s", taken, Aim(9, "s"), seconds=taken)
    far(table, runtime, few)


def far(table: Table, runtime: Runtime, rounds: int) -> None:
    endpoint = runtime.client.session().endpoint
    line = Line(endpoint.url)
    folder = runtime.folder / "far"
    folder.mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "LECODER_CGPU_CONFIG_DIR": str(folder),
        "LECODER_CGPU_BACKEND": "jupyter",
        "LECODER_CGPU_JUPYTER_URL": line.url,
        "LECODER_CGPU_JUPYTER_TOKEN": endpoint.token or "",
    }
    subprocess.run([*TOOL, *RUN], env=environment, check=True, capture_output=True)
    taken = statistics.median(timed([*TOOL, *RUN], environment)[0] for _ in range(rounds))
    name = f"{RUNS} warm runs, {1000 * ROUND_TRIP:.0f} ms away"
    table.add(name, f"{RUNS * taken:.1f} s", RUNS * taken, Aim(18, "s"), seconds=RUNS * taken)
    near = statistics.median(timed([*TOOL, *RUN])[0] for _ in range(rounds))
    trips = (taken - near) / ROUND_TRIP
    table.add("round trips of a warm run", f"{trips:.1f}", trips, Aim(2, ""), trips=round(trips, 2))
    if sys.platform == "linux":
        prepared(table, environment, rounds)
    subprocess.run([*TOOL, "sessions", "close", "--all"], env=environment, check=True, capture_output=True)
    line.close()


def prepared(table: Table, environment: dict[str, str], rounds: int) -> None:
    """The same by a prepared process, over the connection of the run before."""
    environment = {**environment, "LECODER_CGPU_WARM": "always"}
    near = {**os.environ, "LECODER_CGPU_WARM": "always"}
    for _ in range(3):  # the first starts the process and asks for the connection, and is not waited for
        for place in (environment, near):
            timed([*TOOL, *RUN], place)
        time.sleep(2)
    taken = statistics.median(timed([*TOOL, *RUN], environment)[0] for _ in range(rounds))
    name = f"{RUNS} warm runs, {1000 * ROUND_TRIP:.0f} ms away, by a prepared process"
    table.add(name, f"{RUNS * taken:.1f} s", RUNS * taken, Aim(18, "s"), seconds=RUNS * taken)
    trips = (taken - statistics.median(timed([*TOOL, *RUN], near)[0] for _ in range(rounds))) / ROUND_TRIP
    table.add("round trips of such a run", f"{trips:.1f}", trips, Aim(2, ""), trips=round(trips, 2))
