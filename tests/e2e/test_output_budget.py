"""`--max-output`: how much output a document holds, and how to get the rest."""

from __future__ import annotations

import json
import shlex

import pytest

from tests.contract.test_documents import validate
from tests.support.cli import Cli

LINES = "".join(f"{number}\n" for number in range(300_000))
RUNS = {
    "kernel": ("-m", "kernel", "for i in range(300_000): print(i)"),
    "process": ("seq 0 299999",),
}


@pytest.mark.parametrize("mode", RUNS)
def test_a_document_holds_a_megabyte(lab: Cli, mode: str) -> None:
    """Head and tail with a mark between them, the size of all of it, and a command that gets all of it."""
    document = lab("run", "--json", *RUNS[mode]).json
    validate(document, "run")
    assert len(document["stdout"]) < (1 << 20) + 100
    head, mark, tail = document["stdout"].partition("\n[… ")
    assert LINES.startswith(head)
    assert LINES.endswith(tail.partition("…]\n")[2])
    assert mark
    assert document["truncated"]["stdoutBytes"] == len(LINES)
    assert document["outputBytes"] == len(LINES)
    assert document["outputComplete"] is True  # nothing is lost
    program, *words = shlex.split(document["truncated"]["get"])
    assert program == "lecoder-cgpu"
    whole = lab(*words).json
    assert whole["stdout"] == LINES
    assert "truncated" not in whole


@pytest.mark.parametrize("mode", RUNS)
def test_the_limit_is_chosen(lab: Cli, mode: str) -> None:
    """A small one for few tokens; 0 is all; people get everything without asking."""
    small = lab("run", "--json", "--max-output", "200", *RUNS[mode]).json
    assert len(small["stdout"]) < 300
    assert lab("run", "--json", "--max-output", "0", *RUNS[mode]).json["stdout"] == LINES
    assert lab("run", *RUNS[mode]).out == LINES


@pytest.mark.parametrize("mode", RUNS)
def test_events_have_everything_and_their_document_a_part(lab: Cli, mode: str) -> None:
    """Much output is never in memory as a whole, which the last document would need."""
    *events, document = map(json.loads, lab("run", "--events", *RUNS[mode]).out.splitlines())
    assert "".join(event["text"] for event in events if event["type"] == "stream") == LINES
    assert len(document["stdout"]) < (1 << 20) + 100
    assert document["truncated"]["stdoutBytes"] == len(LINES)
    assert "--max-output 0" in document["truncated"]["get"]


def test_rich_outputs_count(lab: Cli) -> None:
    """What does not fit is named with its size."""
    code = "from IPython.display import HTML, display\ndisplay(HTML('small'))\ndisplay(HTML('x' * 5000))"
    document = lab("run", "--json", "--max-output", "2000", "-m", "kernel", code).json
    validate(document, "run")
    small, large = document["display_data"]
    assert small["data"]["text/html"] == "small"
    assert (large["data"], large["omitted"]["text/html"]) == ({}, 5000)
    assert document["truncated"]["displays"] == 1


def test_an_error_counts(lab: Cli) -> None:
    """A message of megabytes (a tensor, a page of HTML) is cut; the command that is named prints all of it."""
    document = lab("run", "--json", "-m", "kernel", "raise ValueError('x' * 500_000 + 'end')").json
    validate(document, "run")
    assert document["exitCode"] == 1
    assert len(document["error"]["message"]) < 70_000
    assert document["error"]["message"].endswith("end")
    assert document["truncated"]["errorBytes"] > 1_000_000
    _, *words = shlex.split(document["truncated"]["get"])
    assert lab(*words).json["error"]["message"] == "x" * 500_000 + "end"
    job = lab("run", "-m", "kernel", "--detach", "raise ValueError('x' * 500_000)").out.strip()
    assert len(lab("job", "wait", job, "--json").out) < 30_000


def test_an_error_counts_in_events(lab: Cli) -> None:
    """Where it is shown, and in the last document."""
    lines = lab("run", "-m", "kernel", "--events", "raise ValueError('x' * 2_000_000)").out.splitlines()
    assert max(map(len, lines)) < 200_000
    assert json.loads(lines[-1])["truncated"]["errorBytes"] > 2_000_000
