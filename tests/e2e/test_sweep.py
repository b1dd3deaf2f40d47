"""Sweeps over real runtimes: every item has exactly one result, whatever ends on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from lecoder_cgpu.testing.colab import FakeColab
from tests.support.cli import Cli, Result
from tests.support.servers import JupyterServer, start_server
from tests.support.wait import wait_until

pytestmark = pytest.mark.slow  # each waits for runtimes that start

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas" / "sweep.json").read_text())

# Writes what it was given, into its own folder and into a log that all items share.
WORK = """
import os, pathlib, sys, time
shared, x, wanted = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
with open(shared / "log", "a") as log:
    log.write(x + "\\n")
assert not pathlib.Path("out").exists()
pathlib.Path("out").mkdir()
pathlib.Path("out/x").write_text(f"{x} {os.environ['LECODER_CGPU_PARAM_x']} {os.environ['LECODER_CGPU_SWEEP_KEY']}")
while not (shared / wanted).exists():
    time.sleep(0.05)
print(x, "ended")
sys.exit(3 if x == "bad" and not (shared / "mended").exists() else 0)
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """The command line with two local sessions, A and B."""
    cli = Cli(tmp_path_factory.mktemp("sweep"), {"LECODER_CGPU_BACKEND": "local"})
    for name in ("A", "B"):
        assert cli("sessions", "ensure", name).code == 0
    yield cli
    assert cli("sessions", "close", "--all").code == 0


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the program, and one that all items share."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "work.py").write_text(WORK)
    (tmp_path / "go").touch()
    return tmp_path


def sweep(cli: Cli, place: Path, *words: str, wanted: str = "go") -> list[str]:
    """A command line that sweeps over the program."""
    options = ["--sync", str(place / "code"), "--pull", f"out:{place}/results/{{key}}"]
    command = [sys.executable, "work.py", str(place), "{x}", wanted]
    return ["sweep", *words, *options, "--json", "--", *command]


def valid(result: Result, code: int) -> Any:
    assert result.code == code, result
    document = result.json
    jsonschema.validate(document, SCHEMA)
    return document


def logged(place: Path) -> list[str]:
    """The items that were begun, as often as they were."""
    path = place / "log"
    return sorted(path.read_text().split()) if path.exists() else []


def test_from_start_to_end(two: Cli, place: Path) -> None:
    """Items over two sessions, each in a folder of its own; what has a result is not run again, and values extend."""
    log = place / "jobs.tsv"
    first = valid(two(*sweep(two, place, "--name", "one", "-s", "A,B", "-p", "x=1,2,bad", "--joblog", str(log))), 1)
    assert [(item["values"]["x"], item["state"], item["exitCode"]) for item in first["items"]] == [
        ("1", "done", 0),
        ("2", "done", 0),
        ("bad", "failed", 3),
    ]
    assert first["counts"] == first["counts"] | {"items": 3, "done": 2, "failed": 1}
    assert Path(first["items"][2]["output"]).read_text() == "bad ended\n"
    assert first["items"][2]["output"] in first["error"]["suggestion"]
    for item in first["items"]:
        x, key = item["values"]["x"], item["key"]
        assert (place / "results" / key / "x").read_text() == f"{x} {x} {key}"
    rows = [line.split("\t") for line in log.read_text().splitlines()]
    assert rows[0][:4] == ["Seq", "Host", "Starttime", "JobRuntime"]
    assert sorted((row[0], row[6], row[7]) for row in rows[1:]) == [("1", "0", "0"), ("2", "0", "0"), ("3", "3", "0")]
    (place / "mended").touch()
    more = valid(two(*sweep(two, place, "--name", "one", "-s", "A,B", "-p", "x=bad,1..3", "--retry-failed")), 0)
    assert {item["values"]["x"]: item["attempts"] for item in more["items"]} == {"1": 1, "2": 1, "bad": 2, "3": 1}
    assert logged(place) == ["1", "2", "3", "bad", "bad"]
    assert two("sweep", "status").out.count("\tdone\t") == 4
    entries = [entry for entry in two("logs", "--json").json if "work.py" in entry["command"]]
    assert sorted(entry["status"] for entry in entries) == ["error", "ok", "ok", "ok", "ok"]
    typo = two("sweep", "statos")
    assert (typo.code, "status" in typo.err) == (2, True)
    (place / "code" / "work.py").write_text(WORK + "# changed\n")
    other = two(*sweep(two, place, "--name", "one", "-s", "A,B", "-p", "x=1"))
    assert other.code == 2
    assert "its code was another one: work.py" in other.json["error"]["message"]


def test_a_killed_client(two: Cli, place: Path) -> None:
    """`kill -9` of the client ends no item. What ran goes on, and is not begun again by `resume`."""
    line = sweep(two, place, "--name", "killed", "-s", "A,B", "-p", "x=1..8", wanted="later")
    client = two.start(*line)
    wait_until(lambda: len(logged(place)) == 2)
    client.kill()
    client.communicate()
    seen = valid(two("sweep", "status", "killed", "--json"), 0)
    assert seen["counts"] == seen["counts"] | {"running": 2, "pending": 6}
    assert two("sweep", "wait", "killed", "--timeout", "0.5").code == 124
    (place / "later").touch()
    done = valid(two("sweep", "resume", "killed", "--json"), 0)
    assert done["counts"] == done["counts"] | {"items": 8, "done": 8}
    assert logged(place) == [str(x) for x in range(1, 9)]
    assert len(list((place / "results").glob("*/x"))) == 8


def test_ending(two: Cli, place: Path) -> None:
    """`kill` ends the items and the process that works on them; `--fail-fast` does so at the first failure."""
    client = two.start(*sweep(two, place, "--name", "ended", "-s", "A,B", "-p", "x=1..8", wanted="never"))
    wait_until(lambda: len(logged(place)) == 2)
    busy = two(*sweep(two, place, "--name", "ended", "-s", "A,B", "-p", "x=1..8", wanted="never"))
    assert (busy.code, busy.json["error"]["name"]) == (2, "SweepBusy")
    assert two("sweep", "kill", "ended").code == 0
    out, _ = client.communicate(timeout=60)
    document = json.loads(out)
    jsonschema.validate(document, SCHEMA)
    assert (client.returncode, document["error"]["name"]) == (1, "SweepKilled")
    assert document["counts"] == document["counts"] | {"killed": 2, "pending": 6, "running": 0}
    fast = valid(two(*sweep(two, place, "--name", "fast", "-s", "A", "-p", "x=bad,1,2", "--fail-fast")), 1)
    assert fast["counts"] == fast["counts"] | {"failed": 1, "pending": 2}
    again = valid(two(*sweep(two, place, "--name", "again", "-s", "B", "-p", "x=bad,1", "--retries", "1")), 1)
    assert [(item["state"], item["attempts"]) for item in again["items"]] == [("failed", 2), ("done", 1)]


def test_a_lost_runtime(two: Cli, place: Path) -> None:
    """The items of a runtime that is killed are done by the other: each has exactly one result."""
    assert two("sessions", "ensure", "C").code == 0
    server = int(two("run", "-s", "C", "-m", "kernel", "import os; print(os.getppid())").out)
    client = two.start(*sweep(two, place, "--name", "lost", "-s", "A,C", "-p", "x=1..8", wanted="later"))
    wait_until(lambda: len(logged(place)) == 2)
    os.kill(server, signal.SIGKILL)
    (place / "later").touch()
    out, err = client.communicate(timeout=100)
    document = json.loads(out)
    jsonschema.validate(document, SCHEMA)
    assert client.returncode == 0, (document, err)
    assert document["counts"] == document["counts"] | {"items": 8, "done": 8}
    assert {item["session"] for item in document["items"] if item["attempts"] == 2} == {"A"}
    assert b"goes on with 1 of 2 runtimes" in err
    assert len(list((place / "results").glob("*/x"))) == 8


def test_from_another_machine(jupyter: JupyterServer, place: Path, tmp_path: Path) -> None:
    """Who knows the session finds the sweep there, and goes on with it."""
    here, there = Cli(tmp_path / "here"), Cli(tmp_path / "there")
    for cli in (here, there):
        cli.home.mkdir()
        added = cli("sessions", "add", "hub", "--url", jupyter.url, "--token-stdin", stdin=jupyter.token.encode())
        assert added.code == 0, added
    client = here.start(*sweep(here, place, "--name", "far", "-s", "hub", "-p", "x=1..3", wanted="later"))
    wait_until(lambda: len(logged(place)) == 1)
    client.kill()
    client.communicate()
    assert there("sweep", "status", "far").code == 66
    seen = valid(there("sweep", "status", "far", "-s", "hub", "--json"), 0)
    assert seen["counts"] == seen["counts"] | {"running": 1, "pending": 2}
    (place / "later").touch()
    done = valid(there("sweep", "resume", "far", "--json"), 0)
    assert done["counts"] == done["counts"] | {"items": 3, "done": 3}
    assert logged(place) == ["1", "2", "3"]
    again = valid(here("sweep", "resume", "far", "--json"), 0)
    assert again["counts"] == again["counts"] | {"done": 3}
    assert logged(place) == ["1", "2", "3"]


def test_an_account_that_allows_fewer(colab: FakeColab, colab_cli: Cli) -> None:
    """Four free runtimes need a word; then as many are used as there are, which is told, and given back."""
    line = ["-p", "x=1..4", "-j", "4", "--cpu", "--json", "--", "echo", "{x}"]
    refused = colab_cli("sweep", *line)
    assert (refused.code, refused.json["error"]["name"]) == (2, "FreeTier")
    done = valid(colab_cli("sweep", "--i-understand-free-tier", *line), 0)
    assert done["counts"] == done["counts"] | {"items": 4, "done": 4}
    assert "the sweep goes on with 1 of 4 runtimes: Colab allows" in done["notice"]
    assert "held" not in done
    assert colab_cli("sessions", "list", "--json").json == []


def test_a_runtime_that_colab_takes(colab: FakeColab, colab_cli: Cli, place: Path) -> None:
    """What ran on it is run again, on a new one; what takes two with it has failed, and takes no third."""
    colab.switches.lost = "404"
    line = sweep(colab_cli, place, "--name", "taken", "-p", "x=1,2", "-j", "1", "--cpu", wanted="later")
    client = colab_cli.start(*line)
    wait_until(lambda: logged(place) == ["1"], 90)
    colab.kill()
    wait_until(lambda: logged(place) == ["1", "1"], 90)
    colab.kill()
    wait_until(lambda: logged(place) == ["1", "1", "2"], 90)
    (place / "later").touch()
    out, err = client.communicate(timeout=100)
    document = json.loads(out)
    jsonschema.validate(document, SCHEMA)
    assert (client.returncode, document["error"]["name"]) == (1, "ItemsFailed"), err
    first, second = document["items"]
    assert (first["state"], first["losses"], first["error"]) == ("failed", 2, "2 runtimes were lost with it")
    assert (second["state"], second["attempts"]) == ("done", 1)
    assert colab_cli("sessions", "list", "--json").json == []


def test_the_page(tmp_path: Path) -> None:
    """The commands of docs/beyond-one-machine.md do what it says."""
    cli = Cli(tmp_path / "home")
    (tmp_path / "project").mkdir()
    page = Path(__file__).parents[2] / "docs" / "beyond-one-machine.md"
    commands = page.read_text("utf-8").split("<!-- sweep -->\n```bash\n")[1].split("```")[0]
    environment = cli.environment({"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"})
    done = subprocess.run(
        ["bash", "-ec", commands],
        cwd=tmp_path / "project",
        env=environment,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done
    assert done.stdout.count(b"\tdone\t") == 8
    assert done.stdout.count(b"['--lr', '0.01', '--seed', '1']\n") == 1
    assert b"seed: 2 values: 0 1\n4 items\n" in done.stderr
    assert cli("sessions", "list", "--json").json == []


def test_two_machines(place: Path, tmp_path: Path) -> None:
    """Two machines that know the same runtimes, by names of their own, run one sweep at once: each item is executed
    once, and both have all results."""
    with start_server(tmp_path / "1") as one, start_server(tmp_path / "2") as two:
        machines = []
        for number, names in enumerate((("a", "b"), ("y", "x"))):
            cli = Cli(tmp_path / f"machine{number}")
            for name, server in zip(names, (one, two), strict=True):
                added = cli("sessions", "add", name, "--url", server.url, "--token-stdin", stdin=server.token.encode())
                assert added.code == 0, added
            machines.append(cli)
        command = [sys.executable, "work.py", str(place), "{x}", "go"]
        started = []
        for cli, sessions in zip(machines, ("a,b", "x,y"), strict=True):
            options = ["--sync", str(place / "code"), "--pull", "out:results/{key}", "--name", "both"]
            line = ["sweep", "-s", sessions, "-p", "x=1..9", *options, "--json", "--", *command]
            started.append(cli.start(*line, cwd=cli.home))
        for client in started:
            out, err = client.communicate(timeout=120)
            document = json.loads(out)
            assert (client.returncode, document["counts"]["done"]) == (0, 9), err
        assert [len(list((cli.home / "results").glob("*/x"))) for cli in machines] == [9, 9]
        assert logged(place) == [str(x) for x in range(1, 10)]
