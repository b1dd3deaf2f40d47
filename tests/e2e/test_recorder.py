"""Nothing is lost on a stock server: what its rate limits, its queues or a cut socket take away is read from the
recording on the runtime, complete and in order, in every way of printing."""

from __future__ import annotations

import json

import pytest

from tests.support.cli import Cli

CASES = {
    "one large print": ("print('x' * 3_000_000)", "x" * 3_000_000 + "\n"),
    "200,000 lines": ("for i in range(200_000): print(i)", "".join(f"{i}\n" for i in range(200_000))),
    "10,000 flushed prints": ("for i in range(10_000): print(i, flush=True)", "".join(f"{i}\n" for i in range(10_000))),
}


@pytest.mark.parametrize("name", CASES)
def test_output_is_complete_in_every_form(lab: Cli, name: str) -> None:
    """Byte for byte, in documents, events and for people."""
    code, expected = CASES[name]
    document = lab("run", "-m", "kernel", code, "--json", "--max-output", "0").json
    assert document["stdout"] == expected
    assert (document["status"], document["outputComplete"]) == ("ok", True)
    assert "stderr" not in document
    result = lab("run", "-m", "kernel", code)
    assert (result.code, result.out) == (0, expected)
    lines = [json.loads(line) for line in lab("run", "-m", "kernel", "--events", code).out.splitlines()]
    assert "".join(line["text"] for line in lines[:-1] if line["type"] == "stream") == expected
    assert lines[-1]["outputComplete"] is True


def test_five_hundred_images(lab: Cli) -> None:
    """Rich outputs too, each once and in order."""
    code = (
        "import base64, os\nfrom IPython.display import display\n"
        "for i in range(500): display({'image/png': base64.b64encode(b'%d' % i + bytes(20_000)).decode()}, raw=True)"
    )
    document = lab("run", "-m", "kernel", code, "--json", "--max-output", "0", "--inline").json
    assert document["outputComplete"] is True
    import base64

    numbers = [base64.b64decode(item["data"]["image/png"]).rstrip(b"\0") for item in document["display_data"]]
    assert numbers == [b"%d" % number for number in range(500)]


def test_a_failure_at_the_end_of_much_output(lab: Cli) -> None:
    """The exception is there, and so is everything before it."""
    document = lab("run", "-m", "kernel", "print('x' * 3_000_000)\n1/0", "--json", "--max-output", "0").json
    assert len(document["stdout"]) == 3_000_001
    assert (document["error"]["name"], document["outputComplete"]) == ("ZeroDivisionError", True)


def test_the_first_run_of_a_kernel(lab: Cli) -> None:
    """The recorder is subscribed before any code runs: in a new kernel, after a restart, and after a crash."""
    code = "print('x' * 3_000_000)"
    for before in (("kernel", "restart"), ("run", "-m", "kernel", "import os; os._exit(1)"), ("sessions", "restart")):
        lab(*before)
        document = lab("run", "-m", "kernel", code, "--json", "--max-output", "0").json
        assert (len(document["stdout"]), document["outputComplete"]) == (3_000_001, True), before


def test_a_kernel_that_does_not_publish_its_replies(lab: Cli) -> None:
    """As one does that executes code before the recorder has prepared its new process: who watched it tells the end."""
    lab("run", "-m", "kernel", "k = get_ipython().kernel; k.do_execute = k.do_execute.__wrapped__")
    runs = {lab("run", "-m", "kernel", "--json", code).json["runId"]: code for code in ("print(1)", "1/0")}
    listed = lab("job", "list", "--all", "--json").json["jobs"]
    assert {runs[job["id"]]: job["exitCode"] for job in listed if job["id"] in runs} == {"print(1)": 0, "1/0": 1}
    lab("kernel", "restart")


def test_what_the_kernel_itself_drops_is_told(lab: Cli) -> None:
    """With queues as short as no recorder leaves them, the kernel drops messages before anybody sees them: the document
    never calls such output complete."""
    lab("run", "-m", "kernel", "1")
    shorten = "import zmq\nthread = get_ipython().kernel.iopub_thread\n"
    # With less than it has published so far, ZeroMQ would never send to these subscribers again.
    lab("run", "-m", "kernel", shorten + "thread.schedule(lambda: thread.socket.setsockopt(zmq.SNDHWM, 60))")
    expected = "".join(f"{i}\n" for i in range(5000))
    try:
        document = lab("run", "-m", "kernel", "for i in range(5000): print(i, flush=True)", "--json").json
    finally:
        lab("kernel", "restart")
    assert document["outputComplete"] is (document["stdout"] == expected)
    assert document["status"] == "ok"
    again = lab("run", "-m", "kernel", "for i in range(5000): print(i, flush=True)", "--json").json
    assert (again["stdout"], again["outputComplete"]) == (expected, True)  # a new process has long queues again
