"""Jobs of a kernel: their order, when they are taken back or sent again, and their limits."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from lecoder_cgpu.guest import executor
from lecoder_cgpu.guest.executor import Executor, KernelCode, KernelJob, unsent, write_code
from lecoder_cgpu.guest.kernel_sockets import message
from lecoder_cgpu.guest.recording import Recording

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the helper was made for Linux")


class Kernel:
    """What an executor does to a kernel: the code that was sent, and the signals."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.signals: list[int] = []
        self.has_process = True
        self.executor = Executor(lambda run, code: self.sent.append(code.text), self.signal)

    def signal(self, number: int) -> bool:
        self.signals.append(number)
        return self.has_process


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


Submit = Callable[..., Recording]


@pytest.fixture
def submit(kernel: Kernel, tmp_path: Path) -> Submit:
    """Submits code as a run of its own."""

    def submit(name: str, timeout: float | None = None) -> Recording:
        folder = tmp_path / name
        folder.mkdir()
        write_code(str(folder), name)
        recording = Recording(str(folder), "kernel", None)
        kernel.executor.submit(KernelJob(recording, KernelCode(name), timeout, None))
        return recording

    return submit


def begin(recording: Recording) -> None:
    recording.add("execute_input", b"{}", b"{}", b"{}", b'{"code": "x"}')
    recording.rest()


def test_one_after_the_other(kernel: Kernel, submit: Submit) -> None:
    """The next job is sent when the kernel has ended the one before; only what was not sent can be sent later."""
    first, second = submit("first"), submit("second")
    assert (unsent(first.folder), unsent(second.folder)) == ("first", "second")
    assert kernel.executor.step() is first
    assert kernel.executor.step() is None
    assert (kernel.sent, unsent(first.folder), unsent(second.folder)) == (["first"], None, "second")
    begin(first)
    assert kernel.executor.ended("first", begun=True) == {"timedOut": False, "stoppedBy": None, "killedBy": []}
    assert kernel.executor.step() is second
    assert kernel.sent == ["first", "second"]


def test_a_refused_job_is_sent_again(kernel: Kernel, submit: Submit) -> None:
    """Code that the kernel did not take up waits again, before all others; a run that is no job was aborted."""
    submit("first")
    submit("second")
    kernel.executor.step()
    assert kernel.executor.ended("somebody's", begun=False) == {"aborted": True}
    assert kernel.executor.ended("first", begun=False) is None
    kernel.executor.step()
    assert kernel.sent == ["first", "first"]


def test_taking_back(kernel: Kernel, submit: Submit) -> None:
    """A job that waits can be taken back; one that was sent cannot."""
    first, second = submit("first"), submit("second")
    kernel.executor.step()
    assert kernel.executor.withdraw("first") is None
    assert kernel.executor.withdraw("second") is second
    assert kernel.executor.withdraw("second") is None
    begin(first)
    kernel.executor.ended("first", begun=True)
    assert kernel.executor.step() is None


@pytest.mark.parametrize(
    ("has_process", "steps"),
    [(True, ["interrupt", "kernel killed"]), (False, ["interrupt", "the kernel could not be killed"])],
)
def test_a_limit(
    kernel: Kernel, submit: Submit, monkeypatch: pytest.MonkeyPatch, has_process: bool, steps: list[str]
) -> None:
    """Time counts from when the kernel takes the code up. It is interrupted, and killed after a grace, once."""
    recording = submit("slow", timeout=5.0)
    kernel.has_process = has_process
    kernel.executor.step()
    assert kernel.executor.next_moment is None  # it waits in the kernel
    begin(recording)
    began = recording.began_at
    assert kernel.executor.next_moment == began + 5.0
    now = began

    def at(moment: float) -> None:
        nonlocal now
        now = moment
        kernel.executor.step()

    monkeypatch.setattr(executor.time, "monotonic", lambda: now)
    at(began + 4.9)
    assert kernel.signals == []
    at(began + 5.0)
    assert kernel.signals == [signal.SIGINT]
    at(began + 5.0 + executor.INTERRUPT_GRACE - 0.1)
    assert kernel.signals == [signal.SIGINT]
    at(began + 5.0 + executor.INTERRUPT_GRACE)
    assert kernel.signals == [signal.SIGINT, signal.SIGKILL]
    assert kernel.executor.next_moment is None
    at(began + 1000)
    assert len(kernel.signals) == 2
    assert kernel.executor.ended("slow", begun=True) == {"timedOut": True, "stoppedBy": "timeout", "killedBy": steps}


def test_a_kernel_that_dies_takes_all_jobs_along(kernel: Kernel, submit: Submit) -> None:
    """Also those that wait: they count on its variables."""
    first, second = submit("first"), submit("second")
    kernel.executor.step()
    assert [recording for recording, _ in kernel.executor.kernel_died()] == [first, second]
    assert kernel.executor.step() is None


def test_a_message_of_a_kernel() -> None:
    """Behind the routing prefix and the signature are four parts; fields are read without parsing the header."""
    header = b'{"msg_id": "kernel_1_7", "msg_type": "stream", "date": "x"}'
    parent = b'{"username": "a \\"msg_id\\": b", "msg_id":"run-0123456789abcdef","msg_type":"execute_request"}'
    found = message([b"topic", b"<IDS|MSG>", b"signature", header, parent, b"{}", b'{"text": "x"}', b"buffer"])
    assert (found.type, found.id, found.content) == ("stream", "kernel_1_7", b'{"text": "x"}')
    assert (found.parent_id, found.parent_type) == ("run-0123456789abcdef", "execute_request")
    assert message([b"<IDS|MSG>", b"", b"{}", b"{}", b"{}", b"{}"]).parent_id == ""
