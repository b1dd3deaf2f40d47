"""What a job has printed, copied to this machine while it runs, so that it does not go with its runtime.

Each attempt has a folder, `jobs/JOB/output/RUN`, with the files `stdout`, `stderr` and `order` as its runtime has them,
from their first byte on. Whoever looks at the job (`job_steps`, or the keeper when it fetches results) copies what is
new. Of a job that was given secrets, nothing is copied: it may print them.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from .. import errors
from ..guest import output_order
from ..helper.documents import RunState
from ..system import atomic_files, logs
from . import job_plans
from .job_output import STREAMS

if TYPE_CHECKING:
    from ..helper.client import Helper
    from .job_plans import JobPlan, Try

MOST = 64 << 20  # bytes of each stream that are copied
ORDER = output_order.FILE
ALL = "all"  # a file that tells that the attempt has ended, and that everything was copied


class Copy:
    """The copy of what one attempt has printed; it reads as `Jobs` does."""

    def __init__(self, state_dir: Path, plan: JobPlan, attempt: Try) -> None:
        self.plan = plan
        self._attempt = attempt
        self._folder = job_plans.files(state_dir, plan.job) / "output" / attempt.run

    def grow(self, helper: Helper, state: RunState) -> None:
        """Copy what is new. What fails is tried again at the next look: it must not disturb the job."""
        if self.plan.work.secrets:
            return
        sizes = {"stdout": state.stdout_size or 0, "stderr": state.stderr_size or 0}
        try:
            if any(self.size(name) < min(size, MOST) for name, size in sizes.items()):
                atomic_files.ensure_dir(self._folder)
                for name, size in sizes.items():
                    self._copy(helper, name, min(size, MOST))
                self._copy(helper, ORDER, MOST)
            if state.ended and all(self.size(name) == size for name, size in sizes.items()):
                atomic_files.write_atomic(self._folder / ALL, b"")
        except (OSError, errors.Error) as error:
            logs.current().info("RUN", f"the output of {self._attempt.run} was not copied: {error}")

    def _copy(self, helper: Helper, name: str, most: int) -> None:
        have = self.size(name)
        descriptor = os.open(self._folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "ab") as file:
            while have < most and (data := helper.read(self._attempt.run, name, have).data):
                file.write(data)
                have += len(data)

    def size(self, name: str) -> int:
        """The bytes of a stream that are here."""
        with contextlib.suppress(OSError):
            return (self._folder / name).stat().st_size
        return 0

    @property
    def found(self) -> bool:
        """Whether anything was copied."""
        return any(map(self.size, STREAMS)) or self.is_complete

    @property
    def is_complete(self) -> bool:
        """Whether it is known to be all."""
        return (self._folder / ALL).exists()

    def said(self) -> str:
        """What is to be said of it to a person."""
        size = self.size("stdout") + self.size("stderr")
        rest = "which is all that it printed" if self.is_complete else "and it may have printed more"
        return f"its runtime is gone: {size:,} bytes were copied here before, {rest}"

    def read(self, key: str, stream: str, offset: int, limit: int | None) -> tuple[RunState, bytes]:
        """A stream's bytes from `offset` on (from the end when negative), at most `limit`; `key` is not looked at."""
        size = self.size(stream)
        start = max(size + offset, 0) if offset < 0 else offset
        return self.state(), self._bytes(stream, start, limit)

    def order(self, run: str) -> bytes:
        """The order of the pieces of both streams, see `guest/output_order.py`."""
        return self._bytes(ORDER, 0, None)

    def _bytes(self, name: str, start: int, limit: int | None) -> bytes:
        try:
            with (self._folder / name).open("rb") as file:
                file.seek(start)
                return file.read(-1 if limit is None else limit)
        except FileNotFoundError:
            return b""

    def state(self) -> RunState:
        """The attempt as a runtime would describe it."""
        return RunState(
            run=self._attempt.run,
            state="unknown",
            stdout_size=self.size("stdout"),
            stderr_size=self.size("stderr"),
        )


def of(state_dir: Path, name: str, number: int | None = None) -> Copy | None:
    """The copy of what a job's attempt has printed, the last one's unless its number is given; None without one.

    Args:
        name: an id or a beginning of one, a name or a key. number: of the attempt, from 1.
    """
    plan = job_plans.find(state_dir, name) or job_plans.plain(state_dir, name)
    if plan is None:
        return None
    run = plan.run_called(name, number)
    copy = Copy(state_dir, plan, next(item for item in plan.tries if item.run == run))
    return copy if copy.found else None
