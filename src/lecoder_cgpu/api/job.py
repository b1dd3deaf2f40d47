"""`Job`: work on a runtime that goes on without this program."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..jupyter import messages
from ..jupyter.outputs import OutputOptions
from ..runs import kernel_runs, process_runs, records
from ..runs.jobs import describe
from .outcomes import ended

if TYPE_CHECKING:
    from ..models.jobs import Job as JobInfo
    from ..models.runs import Run
    from .session import Session


class Job:
    """A command or code that runs on a runtime, whether or not this program goes on.

    Made by `Session.job` and `Session.find_job`.
    """

    def __init__(self, session: Session, job_id: str) -> None:
        self.session = session
        self.id = job_id

    def __repr__(self) -> str:
        return f"Job(id={self.id!r}, session={self.session.name!r})"

    def show(self) -> JobInfo:
        """The job's state now."""
        with self.session._jobs() as known:
            return describe(known.find(self.id))

    def wait(self, timeout: float | None = None) -> JobInfo:
        """Wait for the job's end, at most `timeout` seconds; the document's `state` tells whether it has ended."""
        with self.session._jobs() as known:
            return known.wait(self.id, timeout).job

    def logs(self, stream: str = "stdout", offset: int = 0, limit: int | None = None) -> bytes:
        """What the job wrote to a stream, from a byte offset on; a negative offset counts from the end."""
        with self.session._jobs() as known:
            return known.read(self.id, stream, offset, limit)[1]

    def result(
        self,
        *,
        check: bool = False,
        on_output: Callable[[str, bytes], None] | None = None,
        wait: float | None = None,
        max_output: int | None = None,
    ) -> Run:
        """Wait for the job's end and return what `Session.shell` would have returned.

        Args:
            check: raise the job's failure instead of returning it.
            on_output: called with each piece of output (stream name, bytes) as it comes.
            wait: seconds after which to return although the job goes on.
            max_output: bytes of each stream that the document may hold; None for all.
        """
        with self.session._hold() as held:
            output = OutputOptions(max_output=max_output)
            if kernel_runs.is_kernel_run(held, self.id):

                def tell(event: messages.Event) -> None:
                    if isinstance(event, messages.Stream) and on_output is not None:
                        on_output(event.name, event.text.encode())

                document = kernel_runs.attached_kernel_run(held, self.id, tell, output=output, wait=wait)
            else:
                document = process_runs.attached_run(
                    held, self.id, on_output or (lambda stream, data: None), output=output, wait=wait
                )
            records.note_run(held, document)
        return ended(document, check)

    def kill(self, signal: str | None = None) -> bool:
        """Send a signal to the job and everything that it started; False when the job has ended already.

        Args:
            signal: the name, such as `SIGINT`. None is SIGTERM for a process, and an interrupt for code in a kernel.
        """
        with self.session._jobs() as known:
            return known.kill(self.id, signal).sent is True
