"""`--wait` and `--on-disconnect`: we stop watching, the work goes on, and what it does can be seen later."""

from __future__ import annotations

import json
import signal
import time

import pytest

from tests.contract.test_documents import validate
from tests.support.cli import Cli

RUNS = {
    "kernel": ("-m", "kernel", "import time\nfor i in range(8): print(i, flush=True); time.sleep(0.5)"),
    "process": ("for i in 0 1 2 3 4 5 6 7; do echo $i; sleep 0.5; done",),
}
ALL = "".join(f"{number}\n" for number in range(8))


@pytest.mark.parametrize("mode", RUNS)
def test_waiting_no_longer_than_told(lab: Cli, mode: str) -> None:
    """124 and what there was; then everything, from the beginning."""
    lab("run", "-m", "kernel", "1")
    began = time.monotonic()
    left = lab("run", "--wait", "1.5", *RUNS[mode], "--json")
    assert time.monotonic() - began < 4
    document = left.json
    validate(document, "run")
    assert (left.code, document["exitCode"], document["status"]) == (124, 124, "running"), document
    assert "error" not in document
    assert document["stdout"].startswith("0\n")
    assert ALL.startswith(document["stdout"])
    assert document["stdout"] != ALL
    again = lab("run", "--attach", document["runId"], "--wait", "0", "--json")
    assert (again.code, again.json["status"]) == (124, "running"), again
    whole = lab("run", "--attach", document["runId"], "--json")
    assert (whole.code, whole.json["stdout"]) == (0, ALL)
    (entry,) = [item for item in lab("logs", "--json").json if item["runId"] == document["runId"]]
    assert entry["status"] == "ok"  # completed by the one who saw the end


def test_work_that_ends_in_time(lab: Cli) -> None:
    """A limit that is not reached changes nothing."""
    assert lab("run", "--wait", "60", "exit 3").code == 3
    assert lab("run", "--wait", "60", "-m", "kernel", "1/0", "--json").json["error"]["name"] == "ZeroDivisionError"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("mode", RUNS)
def test_a_signal_may_leave_the_work_alone(lab: Cli, mode: str, number: int) -> None:
    """The document, 128 + the signal, and the work goes on."""
    client = lab.start("run", "--on-disconnect", "detach", "--events", *RUNS[mode], bufsize=0)
    assert client.stdout
    client.stdout.readline()
    client.send_signal(number)
    out, _ = client.communicate(timeout=30)
    document = json.loads(out.splitlines()[-1])
    validate(document, "run")
    assert (client.returncode, document["status"]) == (128 + number, "running")
    whole = lab("run", "--attach", document["runId"], "--json")
    assert (whole.code, whole.json["stdout"]) == (0, ALL)


@pytest.mark.parametrize("mode", RUNS)
def test_a_signal_at_any_moment(lab: Cli, mode: str) -> None:
    """The document has its fields whenever the signal comes, and names the run if there is one."""
    told = []
    for moment in range(12):
        client = lab.start("run", "--on-disconnect", "detach", *RUNS[mode], "--json")
        time.sleep(0.03 * (moment + 1))
        client.send_signal(signal.SIGTERM)
        out, _ = client.communicate(timeout=30)
        document = json.loads(out)
        validate(document, "run")
        assert (client.returncode, document["exitCode"], document["interrupted"]) == (143, 143, True), document
        assert ("runId" in document) == (document["status"] in ("running", "unknown")), document
        told.append(document["status"])
        if "runId" in document:
            lab("job", "kill", "--signal", "SIGKILL", document["runId"])
    assert "running" in told, told


@pytest.mark.parametrize(
    "options", [("--stdin", "cat"), ("--stdin", "-m", "kernel", "1"), ("--timeout", "5", "-m", "kernel", "1")]
)
def test_what_cannot_be_without_us(lab: Cli, options: tuple[str, ...]) -> None:
    """Input and a kernel's time limit come from this client: it may not leave then."""
    for leaving in (("--wait", "5"), ("--on-disconnect", "detach")):
        result = lab("run", *leaving, *options, "--json")
        assert (result.json["error"]["name"], result.code) == ("ConflictingOptions", 2)
