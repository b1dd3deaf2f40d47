"""Jobs in a kernel: code that is executed without a client, one job after the other, with limits that are kept here.

Runs on the runtime as a part of the helper (Python 3.8 and newer, standard library only). An executor belongs to one
recorder. Everything but `submit`, `ring` and `withdraw` happens in the recorder's thread.

**States of a job.** waiting -> sent -> begun (the kernel has taken it up) -> ended. A job waits here and not in the
kernel's own queue, so that it can be taken back. It is written to the disk before it waits, and marked before it is
sent. So a job that was not sent survives the helper, and one that was sent is never sent again, with one exception: if
the kernel refuses it, because code before it failed, it waits again. After it was sent, only what the kernel publishes
tells how it ended. When a limit is reached, the code is interrupted, and after a grace the kernel's process is killed.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from .limits import RunLimits
from .recording import Recording
from .state_files import timestamp, write_json

if TYPE_CHECKING:
    from collections.abc import Callable

INTERRUPT_GRACE = 10.0  # seconds that interrupted code has to end before the kernel is killed
CODE = "code"  # the file of a job's code
SENT = "sent.json"  # marks a job whose code may have reached the kernel


class KernelCode(NamedTuple):
    """Code, and what is executed before and after it, of which nobody sees anything."""

    text: str
    before: str = ""
    after: str = ""


class KernelJob:
    """Code that waits, or is being executed."""

    def __init__(self, recording: Recording, code: KernelCode, timeout: float | None, idle: float | None) -> None:
        self.recording = recording
        self.code = code
        self.timeout = timeout
        self.idle = idle
        self.stopped_by: str | None = None
        self.steps: list[str] = []
        self.next_step: float | None = None


class Executor:
    """The jobs of one kernel.

    Args:
        send: sends an `execute_request` with a message id and code; called in the recorder's thread only.
        interrupt: sends a signal to the kernel's process; False when that cannot be done.
    """

    def __init__(self, send: Callable[[str, KernelCode], None], interrupt: Callable[[int], bool]) -> None:
        self._send = send
        self._interrupt = interrupt
        self._waiting: deque[KernelJob] = deque()
        self._lock = threading.Lock()
        self._current: KernelJob | None = None
        self._read, self._write = os.pipe()

    # --- any thread ---

    @property
    def wake(self) -> int:
        """A descriptor that becomes readable when `submit` or `ring` was called."""
        return self._read

    def submit(self, job: KernelJob) -> None:
        with self._lock:
            self._waiting.append(job)
        self.ring()

    def ring(self) -> None:
        """Wake the recorder's thread."""
        os.write(self._write, b"j")

    def withdraw(self, run: str) -> Recording | None:
        """Take back a job that waits; None when that job does not wait."""
        with self._lock:
            for job in self._waiting:
                if job.recording.id == run:
                    self._waiting.remove(job)
                    return job.recording
        return None

    # --- the recorder's thread ---

    @property
    def next_moment(self) -> float | None:
        """The moment at which `step` must be called even if nothing happens; None for never."""
        job = self._current
        if job is None or not job.recording.begun:
            return None
        if job.next_step is not None:
            return job.next_step
        if job.stopped_by is not None:
            return None  # nothing more can be tried
        return self._limits(job).next(job.recording.written_at)

    @staticmethod
    def _limits(job: KernelJob) -> RunLimits:
        return RunLimits(job.timeout, job.idle, job.recording.began_at)

    def awake(self) -> None:
        os.read(self._read, 4096)

    def step(self) -> Recording | None:
        """Send the next job if the last has ended, or check the limits of the current one.

        Returns the recording of the job that was sent, if one was.
        """
        if self._current is not None:
            self._enforce(self._current)
            return None
        with self._lock:
            if not self._waiting:
                return None
            job = self._current = self._waiting.popleft()
        write_json(os.path.join(job.recording.folder, SENT), {"at": timestamp(time.time())})
        self._send(job.recording.id, job.code)
        return job.recording

    def _enforce(self, job: KernelJob) -> None:
        now = time.monotonic()
        moment = self.next_moment
        if moment is None or now < moment:
            return
        if job.stopped_by is None:
            job.stopped_by = self._limits(job).reached(now, job.recording.written_at)
            if job.stopped_by is not None:
                job.steps.append("interrupt")
                job.next_step = now + INTERRUPT_GRACE
                self._interrupt(signal.SIGINT)
            return
        job.next_step = None
        if self._interrupt(getattr(signal, "SIGKILL", signal.SIGTERM)):
            job.steps.append("kernel killed")
        else:
            job.steps.append("the kernel could not be killed")

    def has_sent(self, run: str) -> bool:
        """Whether the kernel executes that job now."""
        return self._current is not None and self._current.recording.id == run

    def ended(self, run: str, *, begun: bool) -> dict[str, Any] | None:
        """Note that the kernel has ended a run; returns further fields for its result.

        None for a job that waits again: the kernel refused it, because code before it failed.
        """
        job = self._current
        if job is None or job.recording.id != run:
            return {} if begun else {"aborted": True}
        self._current = None
        if not begun:
            with self._lock:
                self._waiting.appendleft(job)
            return None
        return self._known(job)

    @staticmethod
    def _known(job: KernelJob) -> dict[str, Any]:
        return {"timedOut": job.stopped_by is not None, "stoppedBy": job.stopped_by, "killedBy": job.steps}

    def kernel_died(self) -> list[tuple[Recording, dict[str, Any]]]:
        """End all jobs, also those that wait: the variables that they need are lost with the kernel's process.

        Returns them, with further fields for their results.
        """
        with self._lock:
            waiting = list(self._waiting)
            self._waiting.clear()
        jobs = ([self._current] if self._current is not None else []) + waiting
        self._current = None
        return [(job.recording, self._known(job)) for job in jobs]


def write_code(folder: str, code: str) -> None:
    """Write a job's code to the disk, so that it survives this helper."""
    descriptor = os.open(os.path.join(folder, CODE), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogatepass") as file:
        file.write(code)


def unsent(folder: str) -> str | None:
    """The code of a job that was certainly not sent; None if it may have been."""
    if os.path.exists(os.path.join(folder, SENT)) or os.path.exists(os.path.join(folder, "state.json")):
        return None
    try:
        with open(os.path.join(folder, CODE), encoding="utf-8", errors="surrogatepass") as file:
            return file.read()
    except OSError:
        return None
