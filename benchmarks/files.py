"""Transfers as ratios to floors that were measured in the same run.

The floors do the least: a plain HTTP copy with the same library and without any hash (the server's `/files/` one way,
the contents API in parts of 16 MiB the other), and `tar | tar`. Each command and its floor take turns. Times are those
of whole processes. `LECODER_BENCHMARK_MIB` sets the size of the large file (default 1024).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lecoder_cgpu.sessions.manager import SessionManager

from .measure import TOOL, Aim, Runtime, Table

DOWN = """
import sys, httpx2
url, token, path = sys.argv[1:]
with httpx2.Client(headers={"Authorization": "token " + token}) as client:
    with client.stream("GET", url + "files/source") as answer, open(path, "wb") as file:
        answer.raise_for_status()
        for piece in answer.iter_raw():
            file.write(piece)
"""
UP = """
import base64, json, os, sys, httpx2
url, token, path = sys.argv[1:]
left, number = os.path.getsize(path), 0
with httpx2.Client(headers={"Authorization": "token " + token}, timeout=60) as client, open(path, "rb") as file:
    while part := file.read(16 << 20):
        left, number = left - len(part), number + 1
        body = {"type": "file", "format": "base64", "chunk": number if left else -1,
                "content": base64.b64encode(part).decode()}
        client.put(url + "api/contents/plain", json=body).raise_for_status()
"""
SMALL = 5000


def timed(action: Callable[[], object], *, before: Callable[[], object] = lambda: None) -> float:
    """Seconds that `action` takes, after what has to be done `before`."""
    before()
    os.sync()  # what an earlier measurement has left to be written is not this one's
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def tool(*arguments: str) -> None:
    subprocess.run([*TOOL, *arguments], check=True, capture_output=True)


def memory_of(command: list[str]) -> float:
    """Peak memory of a command's process, in MiB."""
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=True)
    return int(done.stdout) / 1024


def report(table: Table, name: str, ours: list[float], floor: list[float], least_ratio: float, size: int = 0) -> None:
    """One line: medians, the ratio of speeds, and megabytes a second where there is a size."""
    mine, least = statistics.median(ours), statistics.median(floor)
    ratio = statistics.median(b / a for a, b in zip(ours, floor, strict=True))
    speed = f" ({size / mine / 2**20:.0f} MiB/s)" if size else ""
    table.add(
        name,
        f"{mine:.2f} s{speed}, floor {least:.2f} s, {ratio:.2f} of its speed",
        ratio,
        Aim(least_ratio, "of its speed", least=True),
        ratio=ratio,
        seconds=mine,
        floor=least,
    )


def helper_peak(client: SessionManager) -> float:
    """The largest memory that the helper's kernel has used so far, in MiB (Linux)."""
    helper = client.session().connect_helper()
    pid = helper.hello().pid
    helper.close()
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) / 1024


def one_file(table: Table, client: SessionManager, folder: Path, size: int, rounds: int) -> None:
    """One large file, both ways."""
    endpoint = client.session().endpoint
    source = folder / "source"
    block = os.urandom(1 << 20)
    with source.open("wb") as file:
        for _ in range(size >> 20):
            file.write(block)
    plain = [endpoint.url, endpoint.token or ""]

    def clean() -> None:
        for name in ("back", "plain"):
            (folder / name).unlink(missing_ok=True)

    up: list[tuple[float, float]] = []
    down: list[tuple[float, float]] = []
    for _ in range(rounds):
        ours = timed(lambda: tool("upload", str(source), "source"))
        up.append((ours, timed(lambda: subprocess.run([sys.executable, "-c", UP, *plain, str(source)], check=True))))
    for _ in range(rounds):
        ours = timed(lambda: tool("download", "source", str(folder / "back")), before=clean)
        floor = [sys.executable, "-c", DOWN, *plain, str(folder / "plain")]
        down.append((ours, timed(partial(subprocess.run, floor, check=True))))
    report(table, f"{size >> 20} MiB up", [a for a, _ in up], [b for _, b in up], 2.4, size)
    report(table, f"{size >> 20} MiB down", [a for a, _ in down], [b for _, b in down], 0.9, size)
    (folder / "back").unlink()
    memory = [
        memory_of([*TOOL, "upload", str(source), "source"]),
        memory_of([*TOOL, "download", "source", str(folder / "back")]),
    ]
    helper = helper_peak(client)
    told = f"client {memory[0]:.0f} MiB up, {memory[1]:.0f} MiB down; helper {helper:.0f} MiB"
    table.add(
        "memory of transfers",
        told,
        max(*memory, helper),
        Aim(200, "MiB"),
        up=memory[0],
        down=memory[1],
        helper=helper,
    )
    tool("rm", "-f", "source", "plain")
    (folder / "plain").unlink()
    (folder / "back").unlink()


def many_files(table: Table, folder: Path, rounds: int) -> None:
    """Many small files, both ways, and a sync that finds nothing to do."""
    source = folder / "small"
    for number in range(SMALL):
        path = source / f"d{number % 50}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(4096))
    times: dict[str, list[float]] = {name: [] for name in ("up", "down", "tar", "sync", "again")}

    def tar(number: int) -> None:
        (folder / f"tar{number}").mkdir()
        subprocess.run(f"tar -C {source} -c . | tar -C {folder / f'tar{number}'} -x", shell=True, check=True)

    # Nothing is deleted in between: ext4 takes long to give out inodes right after others were freed.
    for number in range(rounds):
        times["tar"].append(timed(partial(tar, number)))
        times["up"].append(timed(partial(tool, "upload", str(source), f"up{number}")))
        times["down"].append(timed(partial(tool, "download", f"up{number}", str(folder / f"back{number}"))))
        times["sync"].append(timed(partial(tool, "sync", str(source), f"sync{number}")))
        times["again"].append(timed(partial(tool, "sync", str(source), f"sync{number}")))
    for name in ("up", "down", "sync"):
        report(table, f"{SMALL} files of 4 KiB, {name}", times[name], times["tar"], 0.5)
    again = statistics.median(times["again"])
    table.add("the same sync again", f"{again:.2f} s", again, Aim(0.15, "s"), seconds=again)


def measure(table: Table, runtime: Runtime, rounds: int) -> None:
    mebibytes = int(os.environ.get("LECODER_BENCHMARK_MIB", "1024"))
    few = max(rounds // 3, 3)
    with tempfile.TemporaryDirectory() as name:
        one_file(table, runtime.client, Path(name), mebibytes << 20, few)
        many_files(table, Path(name), few)
