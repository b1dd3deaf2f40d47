"""`Job`: work on a runtime that goes on without this program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Literal

from .. import errors, results
from ..jupyter import messages
from ..jupyter.outputs import OutputOptions
from ..runs import job_views, jobs, kept_output, kernel_runs, planned_jobs, process_runs, records
from .arguments import checked
from .outcomes import ended
from .session_base import OnBytes, silent

if TYPE_CHECKING:
    from ..models.jobs import JobDocument
    from ..results import Attempt, JobInfo, Run
    from ..runs.job_plans import JobPlan
    from .session_base import SessionBase

__all__ = ["Job"]


@checked
class Job:
    """A command or code that runs on a runtime, whether or not this program goes on.

    Made by `Session.job`, `start_code`, `start_notebook` and `find_job`. One that may be run again is the same job on
    whatever runtime its attempt is.
    """

    def __init__(self, session: SessionBase, job_id: str) -> None:
        self.session = session
        self.id = job_id

    def __repr__(self) -> str:
        return f"Job(id={self.id!r}, session={self.session.name!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and (other.id, other.session) == (self.id, self.session)

    def __hash__(self) -> int:
        return hash(self.id)

    def show(self) -> JobInfo:
        """The job's state now."""
        plan = self._plan()
        if plan is not None:
            return results.of(planned_jobs.show(self.session._client, plan).job)
        with self.session._jobs() as known:
            return results.of(jobs.describe(known.find(self.id)))

    def wait(self, timeout: float | None = None, *, pull: Sequence[str] = ()) -> JobInfo:
        """Wait for the job's end, at most `timeout` seconds; the result's `state` tells whether it has ended.

        Results that were declared at its start, and those of `pull`, are fetched when it has ended.

        Raises:
            KeyboardInterrupt: Ctrl-C ended the waiting; the job goes on.
            errors.TransferError, errors.NotFoundError: a result could not be fetched.
        """
        return results.of(self._waited(timeout, pull).job)

    def _waited(self, timeout: float | None, pull: Sequence[str]) -> JobDocument:
        plan = self._plan()
        if plan is None:
            with self.session._jobs() as known:
                document = known.wait(self.id, timeout)
                if document.interrupted is not True:
                    known.fetch(document, pull)
        else:
            manager = self.session._client
            waiting = planned_jobs.Waiting(manager, plan, manager.notify)
            plan = waiting.wait(timeout)
            document, _ = planned_jobs.ended(manager, plan, pull)
            document.interrupted = True if waiting.interrupted is not None else document.interrupted
        if document.interrupted is True:
            raise KeyboardInterrupt(f"waiting for {self.id} was interrupted; it goes on")
        for item in document.pulled if isinstance(document.pulled, list) else ():
            from ..files import results as fetched

            problem = fetched.pull_problem([item], None, document.session.name)
            if problem is not None:
                raise problem
        return document

    def logs(
        self,
        stream: Literal["stdout", "stderr"] = "stdout",
        offset: int = 0,
        limit: int | None = None,
        *,
        attempt: int | None = None,
    ) -> bytes:
        """What the job wrote to a stream, from a byte offset on; a negative offset counts from the end. Of a runtime
        that is gone, that is what was copied here before.

        Args:
            attempt: which one, from 1; the last one when None.

        Raises:
            errors.UsageError: (`NoSuchAttempt`) there was none of that number. errors.LostError: nothing was copied.
        """
        manager = self.session._client
        try:
            which = None if attempt is None else planned_jobs.jobs(manager, self.session.id, self.id, attempt)
            with which or self._known() as known:
                return known.read(self.id, stream, offset, limit)[1]
        except (errors.LostError, errors.NotFoundError):
            copy = kept_output.of(manager.state_dir, self.id, attempt)
            if copy is None:
                raise
            return copy.read(self.id, stream, offset, limit)[1]

    def attempts(self) -> list[Attempt]:
        """What became of each attempt of a job that may be run again; an empty list for all others."""
        plan = self._plan()
        return [] if plan is None else [results.of(item) for item in job_views.attempts_of(plan)]

    def result(
        self,
        *,
        check: bool = False,
        on_output: OnBytes | None = None,
        wait: float | None = None,
        max_output: int | None = None,
    ) -> Run:
        """Wait for the job's end and return what `Session.shell` would have returned.

        Args:
            check: raise the job's failure instead of returning it.
            on_output: called with each piece of output (stream name, bytes) as it comes.
            wait: seconds after which to return although the job goes on.
            max_output: bytes of each stream that the result may hold; None for all.
        """
        with self._known() as known:
            held = known.session
            output = OutputOptions(max_output=max_output)
            run = known.find(self.id).run
            if kernel_runs.is_kernel_run(held, run):
                document = kernel_runs.attached_kernel_run(held, run, _telling(on_output), output=output, wait=wait)
            else:
                document = process_runs.attached_run(held, run, on_output or silent, output=output, wait=wait)
            records.note_run(held, document)
        return ended(document, check)

    def kill(self, signal: str | None = None, *, escalate: bool = False, grace: float = jobs.GRACE) -> bool:
        """Send a signal to the job and everything that it started; False when the job has ended already.

        Args:
            signal: the name, such as `SIGINT`. None is SIGTERM for a process, and an interrupt for code in a kernel.
            escalate: wait until nothing of it lives, and go on to the next harder signal after `grace` seconds.
        """
        plan = self._plan()
        if plan is not None:
            document = planned_jobs.kill(
                self.session._client, plan, lambda known: known.kill(plan.job, signal, escalate=escalate, grace=grace)
            )
            return document.sent is True
        with self.session._jobs() as known:
            return known.kill(self.id, signal, escalate=escalate, grace=grace).sent is True

    def retry(self, *, sync: bool = False, secrets: Mapping[str, str] | None = None) -> JobInfo:
        """Run the job again under its own id, when it has ended; only on the machine that has started it.

        Args:
            sync: send the folder as it is now. secrets: variables that are stored nowhere.

        Raises:
            errors.NotFoundError: this machine has not started it. errors.UsageError: (`JobRuns`) it has not ended.
        """
        document = planned_jobs.retried(
            self.session._client, self.id, self.session.id, sync=sync, secrets=secrets or {}
        )
        return results.of(document.job)

    def remove(self) -> None:
        """Delete the job with its output, when it has ended.

        Raises:
            errors.UsageError: it has not ended.
        """
        plan = self._plan()
        if plan is not None:
            planned_jobs.remove(self.session._client, plan)
            return
        with self.session._jobs() as known:
            known.remove(self.id)

    def _plan(self) -> JobPlan | None:
        """What is kept here of the job, if it may be run again or was."""
        return planned_jobs.find(self.session._client, self.id, self.session.id)

    def _known(self) -> AbstractContextManager[jobs.Jobs]:
        """The jobs of the runtime that the job is on."""
        plan = self._plan()
        return self.session._jobs() if plan is None else planned_jobs.on_runtime(self.session._client, plan)


def _telling(on_output: OnBytes | None) -> Callable[[messages.Event], None]:
    def tell(event: messages.Event) -> None:
        if isinstance(event, messages.Stream) and on_output is not None:
            on_output(event.name, event.text.encode())

    return tell
