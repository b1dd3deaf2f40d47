"""What a run's state on the runtime means for its documents and exit statuses."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET

from lecoder_cgpu.helper.documents import KernelError, Result, RunState, Signal
from lecoder_cgpu.jupyter import messages, stream_buffers
from lecoder_cgpu.models.base import ErrorInfo
from lecoder_cgpu.models.runs import Run, Stopped
from lecoder_cgpu.runs import job_names, jobs, kernel_runs, process_runs, scripts

BEGAN, ENDED = "2025-01-01T10:00:00Z", "2025-01-01T10:00:05Z"


def ended(kind: str = "process", signals: list[Signal] | None = None, **result: object) -> RunState:
    """A run that has ended like that."""
    return RunState(
        run="run-0123456789abcdef",
        state="exited",
        kind=kind,
        signals=signals or [],
        result=Result(started=BEGAN, ended=ENDED, seconds=5.0, **result),  # type: ignore[arg-type]
    )


# --- exit statuses ---


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (RunState(run="run-1", state="running"), None),
        (ended(exit=0), 0),
        (ended(exit=7), 7),
        (ended(signal="SIGKILL"), 137),
        (ended(exit=1, timed_out=True), 75),
        (ended("kernel"), 0),
        (ended("kernel", error=KernelError(ename="KeyError", evalue="'x'")), 1),
        (ended("kernel", error=KernelError(ename="SystemExit", evalue="3")), 3),
        (ended("kernel", error=KernelError(ename="SystemExit", evalue="0")), 0),
        (ended("kernel", error=KernelError(ename="SystemExit", evalue="a message")), 1),
    ],
)
def test_exit_statuses(state: RunState, status: int | None) -> None:
    """As a shell would show them; None while it is not known."""
    assert jobs.exit_status(state) == status


def test_signals_are_numbered_as_on_linux() -> None:
    """Runtimes run Linux, whatever runs here; what has no number is 0."""
    assert [process_runs.signal_number(name) for name in ("SIGKILL", "SIGUSR1", "SIG40", "SIGODD", "")] == [
        9,
        10,
        40,
        0,
        0,
    ]


@pytest.mark.parametrize(
    ("result", "name"),
    [
        ({"died": "the kernel died"}, "KernelDied"),
        ({"aborted": True}, "Aborted"),
        ({"signal": "SIGTERM"}, "Withdrawn"),
        ({"timed_out": True, "died": "the kernel was killed"}, "TimeLimit"),
    ],
)
def test_how_kernel_jobs_end(result: dict[str, Any], name: str) -> None:
    """Each way has a name of its own."""
    document = kernel_runs.concluded(ended("kernel", **result))
    assert isinstance(document.error, ErrorInfo)
    assert document.error.name == name
    assert document.exit_code != 0


# --- who ended it ---


def test_who_ended_a_run() -> None:
    """Its own limits before signals from outside; a signal that ends nothing is none."""
    user = Signal(at=BEGAN, signal="SIGTERM", by="kill")
    other = Signal(at=BEGAN, signal="SIGUSR1", by="kill")
    assert process_runs.stopped_by(None) is None
    assert process_runs.stopped_by(ended(exit=0)) is None
    assert process_runs.stopped_by(ended(signals=[other], exit=0)) is None
    assert process_runs.stopped_by(ended(signals=[other, user])) == Stopped(by="kill", steps=["SIGTERM"])
    limit = ended(signals=[user], stopped_by="timeout", killed_by=["SIGTERM", "SIGKILL"])
    assert process_runs.stopped_by(limit) == Stopped(by="timeout", steps=["SIGTERM", "SIGKILL"])


# --- jobs ---


def test_the_same_key_is_the_same_job() -> None:
    """On every machine."""
    assert job_names.key_id("nightly") == "run-38ae3fa9a23e707e"
    assert job_names.key_id("nightly") != job_names.key_id("weekly")


def test_a_job_that_has_ended() -> None:
    """Times, status and what is missing are in its document; what is not known is absent."""
    job = jobs.describe(ended(exit=3, bytes_dropped=10))
    assert (job.exit_code, job.seconds, job.ended) == (3, 5.0, ENDED)
    assert (job.output_complete, job.bytes_dropped) == (False, 10)
    assert job.signal is UNSET
    assert job.timed_out is UNSET or not job.timed_out


def test_a_job_of_which_nothing_is_known_any_more() -> None:
    """Its output is not called complete."""
    job = jobs.describe(RunState(run="run-1", state="unknown", reason="its supervisor was killed", alive=False))
    assert (job.output_complete, job.alive, job.reason) == (False, False, "its supervisor was killed")
    assert job.exit_code is UNSET


# --- output ---


def stream(text: str, name: str = "stdout") -> messages.Stream:
    return messages.Stream("stdout" if name == "stdout" else "stderr", text)


def test_reading_on_from_an_offset() -> None:
    """Offsets are bytes, and may lie inside a character; rich outputs before them were seen."""
    shown = messages.Display({"text/plain": "1"}, {})
    resume = kernel_runs._Resume((3, 1))
    assert resume.rest(shown) is None
    assert resume.rest(stream("a")) is None
    assert resume.rest(stream("éb")) == stream("b")
    assert resume.rest(shown) is None
    assert resume.rest(stream("err", "stderr")) == stream("rr", "stderr")
    assert resume.rest(shown) == shown
    assert kernel_runs._Resume((0, 0)).rest(None) is None


def test_output_that_is_no_text() -> None:
    """The exact bytes are in the document, too, where they are whole."""
    kept = stream_buffers.StreamBuffer(None, raw=True)
    kept.add(b"a\xffb")
    document = Run(status="ok", error_code=0, exit_code=0, mode="terminal")
    process_runs._put_output(document, "stdout", kept)
    assert document.stdout == "a\ufffdb"
    assert document.stdout_base64 == "Yf9i"
    cut = stream_buffers.StreamBuffer(2, raw=True)
    cut.add(b"\xff" * 100)
    document = Run(status="ok", error_code=0, exit_code=0, mode="terminal")
    process_runs._put_output(document, "stdout", cut)
    assert document.stdout_base64 is UNSET


@pytest.mark.parametrize(
    "line",
    [
        "Cell In[3], line 7",
        "\x1b[32mIn [3], line 7\x1b[0m",
        "<ipython-input-3-0a1b2c>, line 7",
        "/tmp/ipykernel_9/12.py",
    ],
)
def test_tracebacks_name_the_file(line: str) -> None:
    """In every form in which IPython names a cell; other cells keep their names."""
    assert r"C:\code\train.py" in scripts.name_file(line, r"C:\code\train.py", 3)
    assert scripts.name_file("Cell In[4], line 7", "train.py", 3) == "Cell In[4], line 7"
