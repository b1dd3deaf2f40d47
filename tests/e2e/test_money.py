"""What costs money is in sight: before a start, at the end of every command, and when something is closed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lecoder_cgpu.cli import durations
from lecoder_cgpu.testing.colab import FakeColab
from tests.contract.test_documents import failed, validate
from tests.support.cli import Cli
from tests.support.pty import Pty


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Cli]:
    command = Cli(tmp_path, {"LECODER_CGPU_BACKEND": "local"})
    yield command
    assert command("sessions", "close", "--all").code == 0


def test_everything_that_is_held_is_named(colab: FakeColab, colab_cli: Cli, tmp_path: Path) -> None:
    """In the last line and in documents, whatever the command used; the rate is what was seen, and is not asked for."""
    first = colab_cli("run", "--gpu", "T4", "echo hi", "--json").json
    validate(first, "run")
    assert first["held"] == [
        {"session": "colab", "label": "Colab GPU T4", "certain": True, "unitsPerHour": None, "idleSeconds": 3600}
    ]
    colab_cli("usage")
    calls = colab.count("GET /tun/m/*") + colab.count("GET /v1/*")
    warm = colab_cli("run", "echo hi")
    assert colab.count("GET /tun/m/*") + colab.count("GET /v1/*") == calls
    assert warm.err == (
        "still running and using units: colab, Colab GPU T4 (1.2 units an hour); "
        "stops after 60 min without work; to stop it now: lecoder-cgpu sessions close colab\n"
    )
    for words in (("run", "--detach", "echo hi"), ("upload", str(Path(__file__)))):
        assert "1.2 units an hour" in colab_cli(*words).err
        assert colab_cli(*words, "--json").json["held"][0]["unitsPerHour"] == 1.2
    assert colab_cli("sessions", "ensure", "colab", "--gpu", "T4", "--json").json["held"][0]["session"] == "colab"
    views = ("status", "usage", "job list", "ls", "kernel list", "sessions switch colab", "keeper status", "ls nosuch")
    for line in views:
        document = colab_cli(*line.split(), "--json").json
        assert [item["session"] for item in document["held"]] == ["colab"], line


def test_several(hollow: FakeColab, colab_cli: Cli, tmp_path: Path) -> None:
    """All of them, and one command that ends all; which session is active now is said."""
    hollow.account.max_vms = 2
    colab_cli("sessions", "ensure", "a", "--cpu")
    assert colab_cli("sessions", "ensure", "b", "--cpu").code == 0
    (tmp_path / "file").write_text("x")
    closed = colab_cli("sessions", "close", "b")
    assert "a is the active session now" in closed.err


def test_a_refused_start_changes_nothing(hollow: FakeColab, colab_cli: Cli) -> None:
    """The active session stays, and nothing else is said; a start that succeeds says which one is active then."""
    hollow.account.max_vms = 2
    assert colab_cli("sessions", "ensure", "a", "--cpu").code == 0
    refused = colab_cli("connect", "--gpu", "A100", stdin=b"true")
    assert (refused.code, "active session" in refused.err) == (69, False), refused
    (left,) = colab_cli("sessions", "list", "--json").json
    assert (left["name"], left["isActive"]) == ("a", True)
    colab_cli("run", "--cpu", "--new-runtime", "true")
    assert [item["name"] for item in colab_cli("sessions", "list", "--json").json if item["isActive"]] == ["colab"]


def test_at_a_terminal(colab: FakeColab, colab_cli: Cli, pty_of: Callable[..., Pty]) -> None:
    """A person is told what starts before it does, and asked before work is ended."""
    run = pty_of(colab_cli, "run", "--gpu", "T4", "--idle-release", "20m", "echo done")
    assert run.end() == 0
    before, _, after = (b" ".join(part.split()) for part in run.seen.partition(b"done"))  # however lines are wrapped
    assert (
        b"starting Colab T4, which uses compute units (the account has 50 free ones); how many an hour, when it"
        in before
    )
    assert b"stops after 20 min without work; Ctrl-C gives it back" in before
    assert b"still running and using units" in after
    job = colab_cli("run", "--detach", "sleep 300", "--json").json["jobId"]
    close = pty_of(colab_cli, "sessions", "close")
    close.wait(lambda: b"[y/N]" in close.seen)
    assert job.encode() in close.seen
    close.type(b"n\n")
    assert close.end() == 2
    assert len(colab.vms) == 1
    close = pty_of(colab_cli, "sessions", "close")
    close.wait(lambda: b"[y/N]" in close.seen)
    close.type(b"y\n")
    assert close.end() == 0
    assert colab.vms == {}


@pytest.mark.parametrize("option", ["--idle-release", "--max-runtime", "--wait-for-capacity"])
def test_a_bare_number_is_no_time(cli: Cli, option: str) -> None:
    """Somebody who means minutes would lose a runtime to seconds."""
    document = failed(cli("run", option, "20", "ls", "--json"))
    assert document["exitCode"] == 2
    assert "20 what? 20m or 20s" in document["error"]["message"]


def test_one_grammar(local: Cli) -> None:
    """`--timeout` and `--wait` take units, too, and bare numbers stay seconds there."""
    assert local("run", "--timeout", "1.5s", "sleep 20").code == 75
    assert local("run", "--timeout", "1.5", "sleep 20").code == 75
    assert local("run", "--timeout", "2h", "--idle-timeout", "10m", "exit 3").code == 3
    job = local("run", "--detach", "sleep 20", "--json").json["jobId"]
    assert local("job", "wait", job, "--timeout", "1s").code == 124
    assert failed(local("run", "--timeout", "2 hours", "ls", "--json"))["exitCode"] == 2
    assert failed(local("run", "--timeout", "0", "ls", "--json"))["exitCode"] == 2
    closed = local("sessions", "close", "--json").json  # elsewhere than at a terminal, what it ends is named
    validate(closed, "sessions-close")
    assert closed["closed"][0]["ended"] == [job]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("20m", 1200), ("2h", 7200), ("1h30m", 5400), ("1.5d", 129600), (".5s", 0.5)]
)
def test_durations(text: str, seconds: float) -> None:
    assert durations.seconds(text) == seconds
