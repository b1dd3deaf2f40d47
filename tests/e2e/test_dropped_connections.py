"""Connections that are cut in the middle: the run goes on, nothing is lost, nothing is executed twice."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.proxy import Proxy
from tests.support.servers import JupyterServer


@pytest.fixture(scope="module")
def cuttable(jupyter: JupyterServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cli, Proxy]]:
    """The command line with a warm session that reaches a stock server through a proxy."""
    proxy = Proxy(jupyter.url)
    command = Cli(tmp_path_factory.mktemp("cuttable"))
    name = command.home.name
    command("sessions", "add", name, "--url", proxy.url, "--token-stdin", stdin=jupyter.token.encode())
    assert command("run", "-m", "kernel", "1").code == 0
    yield command, proxy
    command("sessions", "close", "--all")
    proxy.close()


def watch(command: Cli, proxy: Proxy, cuts: int, seed: int, *arguments: str) -> tuple[int, dict, str]:  # type: ignore[type-arg]
    """Run with events, cutting the connection at random moments; the exit status, the document, the streamed text."""
    chance = random.Random(seed)
    process = command.start("run", *arguments, "--events", bufsize=0)
    assert process.stdout is not None
    first = process.stdout.readline()  # the code runs
    for _ in range(cuts):
        time.sleep(0.2 + chance.random() * 0.5)
        proxy.cut()
    rest, err = process.communicate(timeout=90)
    lines = [json.loads(line) for line in (first + rest).splitlines()]
    streamed = "".join(line["text"] for line in lines[:-1] if line.get("name") == "stdout")
    assert b"Traceback" not in err
    return process.returncode, lines[-1], streamed


@pytest.mark.parametrize("seed", range(3))
def test_a_kernel_run_is_complete(cuttable: tuple[Cli, Proxy], seed: int, tmp_path: Path) -> None:
    """Five cuts while lines come, large prints between them: every byte once, in order, and one execution."""
    command, proxy = cuttable
    counter = tmp_path / "counter"
    code = (
        f"import time\nopen({str(counter)!r}, 'a').write('x')\n"
        "for i in range(60):\n    print(i, 'y' * (i % 7) * 20_000, flush=True)\n    time.sleep(0.06)"
    )
    expected = "".join(f"{i} {'y' * (i % 7) * 20_000}\n" for i in range(60))
    status, document, streamed = watch(command, proxy, 5, seed, "-m", "kernel", code)
    assert (status, document["status"], document["outputComplete"]) == (0, "ok", True), document
    assert streamed == expected
    assert document["truncated"]["stdoutBytes"] == len(expected)  # events have told it
    assert counter.read_text() == "x"


@pytest.mark.parametrize("seed", range(3))
def test_a_process_run_is_complete(cuttable: tuple[Cli, Proxy], seed: int, tmp_path: Path) -> None:
    """The same for a process, with its exit status."""
    command, proxy = cuttable
    counter = tmp_path / "counter"
    shell = f"printf x >> '{counter}'; for i in $(seq 1 60); do echo $i; seq 1 2000; sleep 0.06; done; exit 9"
    block = "".join(f"{number}\n" for number in range(1, 2001))
    expected = "".join(f"{i}\n{block}" for i in range(1, 61))
    status, document, streamed = watch(command, proxy, 5, seed, shell)
    assert (status, document["exitCode"]) == (9, 9), document
    assert document["stdout"] == expected or streamed == expected
    assert streamed == expected
    assert counter.read_text() == "x"


def test_a_failure_behind_a_cut(cuttable: tuple[Cli, Proxy]) -> None:
    """The exception of a run whose socket was cut while it slept is known all the same."""
    command, proxy = cuttable
    code = "import time\nprint('begun', flush=True)\ntime.sleep(2)\nraise KeyError('late')"
    status, document, streamed = watch(command, proxy, 1, 1, "-m", "kernel", code)
    assert (status, document["error"]["name"]) == (1, "KeyError"), document
    assert streamed == "begun\n"


def test_a_request_that_is_lost(cuttable: tuple[Cli, Proxy], tmp_path: Path) -> None:
    """The runtime's record proves that the code was not executed: the document says so, and nothing is sent again."""
    command, proxy = cuttable
    counter = tmp_path / "counter"
    proxy.lose_next_frame = True
    result = command("run", "-m", "kernel", f"open({str(counter)!r}, 'a').write('x')", "--json")
    assert (result.json["status"], result.json["errorCode"], result.code) == ("error", 1006, 74), result
    assert (result.json["error"]["name"], result.json["error"]["retryable"]) == ("RequestLost", True)
    assert not counter.exists()
