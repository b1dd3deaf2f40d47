"""Jobs: runs that do not need their client. The runtime keeps their state, output and exit status, so every machine
that knows the session can ask for them."""

from __future__ import annotations

import builtins
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, structs

from .. import errors
from ..guest import output_order
from ..helper.client import Helper
from ..helper.documents import GpuReport, RunState
from ..helper.follow import Follower
from ..helper.launch import DEFAULT, Launch
from ..jupyter import messages
from ..models.base import ErrorInfo, known
from ..models.jobs import Job, JobDocument, JobList, JobStarted, JobUsage, Progress
from ..models.runs import JobKind, job_state
from ..sessions.session import Session
from ..system import redaction, waits
from ..system.interrupts import Hold, Unwatched, naming
from . import classify, endings, job_names, job_plans, kernel_children, kernel_runs, pushed, records
from .process_runs import remaining, signal_number, stopped_by, told
from .process_watch import ProcessRun

if TYPE_CHECKING:
    from ..files.pull_plans import PullPlan
    from ..models.runs import Pulled


def start(
    session: Session, command: str | list[str], launch: Launch = DEFAULT, *, key: str | None = None
) -> JobStarted:
    """Start a command that goes on without its client.

    Args:
        launch: where and with what it starts, its limits, and the results that `job wait` is to fetch, on any machine.
            The digest is computed here.
        key: makes the start idempotent: the same key with the same input is the same job.

    Raises:
        errors.UsageError: (`KeyConflict`) the key was used with other input. errors.Error: nothing was started.
    """
    # Values of secrets are left out: they may be rotated, and not even their hash may be written down.
    described = [
        command,
        launch.cwd,
        sorted((launch.environment or {}).items()),
        sorted(launch.secrets or {}),
        launch.timeout,
        launch.idle_timeout,
    ]
    run = ProcessRun(session, command, lambda stream, data: None, run_id=launch.run_id or _id(key))
    launch = _called(launch, key, described)
    run.start(launch)
    run.close()
    assert run.state is not None
    if run.early is not None:
        raise Unwatched(run.early, run.id)
    return _started(session, run.state, launch)


def start_in_kernel(session: Session, code: str, launch: Launch = DEFAULT, *, key: str | None = None) -> JobStarted:
    """Have the session's kernel execute code without this client, after the code that is queued already. The helper on
    the runtime sends it, so the same key starts it once. The helper also keeps its limits, which count from when the
    kernel begins it.

    Raises:
        errors.UsageError: (`KeyConflict`) see `start`; (`NotRecordable`) the helper cannot reach the kernel.
        errors.Error: nothing was started.
    """
    run_id = _id(key)
    launch = _called(launch, key, ["kernel", code, launch.timeout, launch.idle_timeout, *(launch.around or ())])

    def execute(helper: Helper, *, anew: bool = False) -> RunState:
        try:
            kernel = session.kernel_id()
            with naming(run_id), Hold():
                return helper.execute(run_id, kernel, code, launch)
        except errors.NoConnection as error:
            if anew or session.kernel() is not None:
                raise errors.UsageError(
                    "code in this kernel cannot be left alone: it is on another machine than the helper",
                    name="NotRecordable",
                    hint="leave out --detach; or leave out -m kernel: a command can be left alone",
                ) from error
        session.forget_kernel()
        return execute(helper, anew=True)

    session.kernel_id()  # started first: the helper's recorder is there before the code is
    helper, state = session.start_with_helper(execute)
    helper.close()
    return _started(session, state, launch)


def _id(key: str | None) -> str:
    if key is None:
        return messages.new_run_id()
    job_names.check_key(key)
    return job_names.key_id(key)


def _called(launch: Launch, key: str | None, described: list[Any]) -> Launch:
    """What a job is started with, by its name, else by its key. A job of that key which is there takes another name."""
    return structs.replace(
        launch, digest=job_names.digest(described), name=launch.name or key, renames=launch.name is not None
    )


def _started(session: Session, state: RunState, launch: Launch) -> JobStarted:
    job = describe(state)
    job.name = state.name or launch.name or UNSET
    return JobStarted(
        job_id=state.run,
        job=job,
        session=session.record.ref,
        next=f"lecoder-cgpu job wait {state.run}",
    )


def describe(state: RunState) -> Job:
    """The document of a run's state."""
    job = Job(
        id=state.run,
        name=state.name or UNSET,
        state=job_state(state.state),
        kind=known(state.kind, JobKind, "process"),
        detached=UNSET if state.detached is None else state.detached,
        command=state.shown() or UNSET,
        cwd=state.cwd or UNSET,
        created=state.created or UNSET,
        started=state.started or UNSET,
        pid=state.pid or UNSET,
        reason=state.reason or UNSET,
        stdout_bytes=state.stdout_size or 0,
        stderr_bytes=state.stderr_size or 0,
    )
    if job.state != state.state:
        job.reason = f"its runtime calls it {state.state!r}"
    if state.alive is not None:
        job.alive = state.alive
    if (stopped := stopped_by(state)) is not None:
        job.stopped = stopped
    if state.remaining:
        job.remaining = remaining(state)
    if state.progress is not None:
        job.progress = Progress(
            stream="stderr" if state.progress.stream == "stderr" else "stdout",
            line=redaction.hide(state.progress.line),
            percent=UNSET if state.progress.percent is None else state.progress.percent,
        )
    if state.usage is not None:
        job.heartbeat = state.usage.at
        job.usage = JobUsage()
        for name in ("processes", "cpu_seconds", "cpu_percent", "rss_bytes"):
            if (value := getattr(state.usage, name)) is not None:
                setattr(job.usage, name, value)
    if state.state == "unknown":
        job.output_complete = False
    if (result := state.result) is not None:
        job.exit_code, job.ended, job.seconds = exit_status(state) or 0, result.ended, result.seconds
        job.signal = result.signal or UNSET
        job.output_complete, job.bytes_dropped = result.is_complete, result.bytes_dropped or UNSET
        if result.timed_out:
            job.timed_out = True
    return job


def exit_status(state: RunState) -> int | None:
    """The exit status that a shell would show; 75 when its own time limit ended it, None when it is not known."""
    result = state.result
    if result is None:
        return None
    if state.kind == "kernel":
        return kernel_runs.concluded(state).exit_code
    if result.timed_out:
        return errors.TimeLimit.exit_status
    return result.exit if result.exit is not None else 128 + signal_number(result.signal or "")


LOOK = 0.2  # seconds between looks at processes that have to end
GRACE = 10.0  # seconds that a job has to react to a signal before the next harder one
HARDER = {"process": ("SIGTERM", "SIGKILL"), "kernel": ("SIGINT", "SIGKILL")}


class Jobs:
    """The jobs on a session's runtime. A context manager: it holds one connection.

    Every method raises errors.NotFoundError for a job that the runtime does not know, and errors.ConnectionFailed when
    the connection drops.
    """

    def __init__(self, session: Session, helper: Helper | None = None) -> None:
        self.session = session
        self._helper, self._pids = helper or session.connect_helper(), dict[str, list[int]]()  # ids of running jobs
        self.attempt: int | None = None  # which attempt of a job is meant that is run again; None is the last

    @property
    def helper(self) -> Helper:
        """The connection that it holds."""
        return self._helper

    def __enter__(self) -> Jobs:
        return self

    def __exit__(self, *_: object) -> None:
        self._helper.close()

    def known(self, limit: int, *, detached: bool = False) -> Sequence[RunState]:
        """The newest runs, and all of which something lives. What the history here says of them is completed."""
        states = self._helper.runs(limit, jobs=detached)
        records.note_ends(self, states)
        records.note_missing(self.session, states if len(states) < limit and not detached else None)
        return states

    def list(self, limit: int, *, detached: bool = False) -> JobList:
        """The newest jobs, and those that go on; with `detached`, of those only that run without a client."""
        found = self.known(limit, detached=detached)
        return JobList(jobs=[self._described(state) for state in found], session=self.session.record.ref)

    def add_gpus(self, jobs: Sequence[Job]) -> Sequence[GpuReport]:
        """Add to running jobs how much GPU memory they hold, as far as the driver tells. Returns the GPUs."""
        report = self._helper.report()
        held = {process.pid: process.memory_bytes or 0 for process in report.gpu_processes}
        for job in jobs:
            own = [held[pid] for pid in self._pids.get(job.id, ()) if pid in held]
            if own and isinstance(job.usage, JobUsage):
                job.usage.gpu_memory_bytes = sum(own)
        return report.gpus

    def _described(self, state: RunState) -> Job:
        if state.usage is not None:
            self._pids[state.run] = state.usage.pids
        return describe(state)

    def find(self, key: str) -> RunState:
        """The job with that id, name or key, or with the only id that begins so. Its entry in the history is completed.

        Raises:
            errors.UsageError: several ids begin so. errors.NotFoundError, errors.LostError: see `job_names.missing`.
        """
        state = self._find(key)
        records.note_ends(self, [state])
        return state

    def _find(self, key: str) -> RunState:
        plan = job_plans.find(self.session.store.folder, key)
        key = key if plan is None else plan.run_called(key, self.attempt)
        if job_names.is_id(key):
            try:
                return self._show(key)
            except errors.NotFoundError as error:
                raise job_names.missing(self.session, key, error) from error
        return job_names.choose(self.session, self._helper.runs(1000), key)

    def _show(self, run: str) -> RunState:
        """A job's state, asked for again over another connection if this one was lost."""
        try:
            return self._helper.show(run)
        except errors.ConnectionFailed as error:
            self._helper.close()
            self._helper = self.session.reconnect_helper(error)
            return self._helper.show(run)

    def wait(self, key: str, timeout: float | None, tell: Callable[[str], None] = lambda text: None) -> JobDocument:
        """Wait for a job's end, at most `timeout` seconds. Ctrl-C ends the waiting only, and the document says so.

        `tell`: told once if the job was told to end, and takes long to do so.
        """
        state = self.find(key)
        deadline = None if timeout is None else time.monotonic() + timeout
        interrupted: int | None = None
        if not state.ended:
            run = state.run
            # Only the end is of interest, so the follower begins behind all output.
            stdout, stderr = state.stdout_size or 0, state.stderr_size or 0
            follower = Follower(run, lambda stream, data: None, stdout_offset=stdout, stderr_offset=stderr)
            try:
                endings.wait(lambda until: self._follow(follower, until), lambda: self._show(run), deadline, tell)
            except KeyboardInterrupt as interrupt:
                interrupted = errors.interrupted_status(interrupt)
            state = self._show(state.run)
            records.note_ends(self, [state])
        document = self.document(state)
        if interrupted is not None:
            document.interrupted = True
            document.exit_code = interrupted
        return document

    def ids(self, *, ended: bool) -> Sequence[str]:
        """The ids of all jobs on the runtime that have ended, or of all that have not, oldest first."""
        return [state.run for state in reversed(self._helper.runs(1000)) if state.ended is ended]

    def fetch(self, document: JobDocument, more: Sequence[str]) -> None:
        """Fetch the results of a job that has ended: those that were declared when it was started, and `more`."""
        state = self._find(document.job.id)
        if not state.ended:
            return
        from ..files import pull_plans, results

        plan = pull_plans.find(self.session.store.folder, state.run)
        again = [] if plan is None else plan.specs
        specs = [spec for spec in dict.fromkeys([*(state.pull or ()), *more]) if spec not in again]
        if plan is not None:
            document.pulled = self.fetch_last(plan)
        if specs:
            earlier = document.pulled if isinstance(document.pulled, list) else []
            document.pulled = [*earlier, *results.pull(self.session, specs, state.cwd)]
        if not isinstance(document.pulled, list):
            return
        problem = results.pull_problem(document.pulled, state.cwd, self.session.record.name)
        if problem is not None and document.status == "ok":
            document.status = "error"
            document.error_code, document.exit_code = problem.code, problem.exit_status
            document.error = ErrorInfo.of(problem)

    def fetch_last(self, plan: PullPlan) -> builtins.list[Pulled]:
        """Fetch the last generation of what was declared with --every; the keeper has nothing more to do."""
        from ..files import pull_plans, pulling

        pulled = pulling.fetch_last(self.session, plan.pulling, self.session.notify)
        if all(item.error is UNSET for item in pulled):
            done = pull_plans.after_fetch(plan, time.time(), finished=True, problem=None)
            pull_plans.note(self.session.store.folder, done)
        return pulled

    def document(self, state: RunState) -> JobDocument:
        """The document of a job, with the exit status of the command that shows it."""
        document = JobDocument(job=self._described(state), session=self.session.record.ref)
        if not state.ended:
            document.status = "running"
            document.exit_code = errors.EXIT_STOPPED_WAITING
            document.next = f"lecoder-cgpu job wait {state.run}"
        elif state.result is None:
            lost = errors.LostError(
                f"how the job ended cannot be known: {state.reason}",
                name="SupervisorLost",
                hint=self.session.reading_command(state.run),
            )
            document.status = "unknown"
            document.error_code, document.exit_code = lost.code, lost.exit_status
            document.error = ErrorInfo.of(lost)
        elif state.kind == "kernel":
            ended = kernel_runs.concluded(state, self.session.language_in(state.kernel))
            document.status = ended.status if ended.status in ("ok", "unknown") else "error"
            document.error_code, document.exit_code, document.error = ended.error_code, ended.exit_code, ended.error
        elif (status := exit_status(state)) or state.result.timed_out:
            start = max(state.result.stderr_bytes - 8192, 0)
            tail = self._helper.read(state.run, "stderr", start, without_secrets=True).data
            command = state.shell or (state.argv or [""])[0]
            failure, document.error = classify.process(
                state.result.exit,
                state.result.signal,
                tail.decode("utf-8", "replace"),
                command,
                timed_out=state.result.timed_out,
                stopped_by=None if (stopped := stopped_by(state)) is None else stopped.by,
                out_of_memory=state.result.out_of_memory,
            )
            document.status, document.error_code, document.exit_code = "error", failure.code, status or 1
        pushed.note(document, state.result.pushes if state.result is not None else state.pushes)
        return told(document)

    def read(self, key: str, stream: str, offset: int, limit: int | None) -> tuple[RunState, bytes]:
        """A stream's bytes from `offset` on (from the end when negative), at most `limit`, and the job."""
        state = self.find(key)
        size = (state.stdout_size if stream == "stdout" else state.stderr_size) or 0
        start = max(size + offset, 0) if offset < 0 else offset
        content = bytearray()
        while start + len(content) < size and (limit is None or len(content) < limit):
            chunk = self._helper.read(state.run, stream, start + len(content))
            if not chunk.data:
                break
            content += chunk.data
        return state, bytes(content if limit is None else content[:limit])

    def order(self, run: str) -> bytes:
        """In which order a run wrote to its two streams, see `guest/output_order.py`."""
        content = bytearray()
        while chunk := self._helper.read(run, output_order.FILE, len(content)).data:
            content += chunk
        return bytes(content)

    def follow(self, key: str, on_output: Callable[[str, bytes], None], stdout: int, stderr: int) -> RunState | None:
        """Deliver output from these offsets on until the job ends."""
        state = self.find(key)
        return self._follow(Follower(state.run, on_output, stdout_offset=stdout, stderr_offset=stderr), None)

    def _follow(self, follower: Follower, until: float | None) -> RunState | None:
        """Follow a job, over as many connections as it takes."""
        while True:
            try:
                return follower.follow(self._helper, until)
            except errors.ConnectionFailed as error:
                self._helper.close()
                self._helper = self.session.reconnect_helper(error)

    def kill(self, key: str, signal: str | None = None, *, escalate: bool = False, grace: float = GRACE) -> JobDocument:
        """Send a signal to the job and everything that it started, or interrupt the kernel that executes it.

        Args:
            signal: its name; SIGTERM for a process and SIGINT for code in a kernel when None. Code that still waits
                is taken back by any signal. Any signal but SIGINT ends the kernel, and all of its variables are lost.
            escalate: wait until nothing of it lives, and go on to the next harder step whenever `grace` seconds have
                passed. What is alive after the last step is in the document (`remaining`), with exit status 124.

        What a job left in the background when it had ended by itself gets the signals, too.
        """
        before = self.find(key)
        run, steps = before.run, HARDER.get(before.kind, HARDER["process"])
        first = signal or steps[0]
        signals = [first] if (sent := self._helper.signal(run, first)) else []
        if escalate and sent:
            for step in steps[steps.index(first) + 1 :] if first in steps else steps:
                if self._is_gone(run, grace):
                    break
                signals += [step] if self._helper.signal(run, step) else []
        gone = not escalate or self._is_gone(run, grace)
        state = self._show(run)
        records.note_ends(self, [state])
        job = describe(state)
        if state.kind == "kernel" and sent and (left := kernel_children.end(self._helper, run)):
            job.remaining = left
        document = JobDocument(job=job, session=self.session.record.ref, sent=sent, signals=signals or UNSET)
        document.exit_code = 0 if gone else errors.EXIT_STOPPED_WAITING
        document.signalled = remaining(before) if sent and before.ended else UNSET
        return document

    def _is_gone(self, run: str, limit: float) -> bool:
        """Wait until a job has ended and nothing of it lives, at most `limit` seconds; whether that is so."""
        deadline = time.monotonic() + limit
        with waits.on(f"the end of {run}"):
            self.wait(run, limit)
            while not (gone := self._show(run).gone) and time.monotonic() < deadline:
                time.sleep(LOOK)
        return gone

    def remove(self, key: str) -> str:
        """Delete a job that has ended, with its output; returns its id.

        Raises:
            errors.UsageError: it has not ended.
        """
        state = self.find(key)
        self._helper.forget(state.run)
        return state.run
