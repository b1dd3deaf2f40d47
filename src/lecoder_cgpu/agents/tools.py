"""The tools that a coding agent may call: a static list over the library, with the documents that `--json` prints.

Only `mcp` knows the protocol. Every tool returns little more than `WAIT_MOST` seconds later at most, because clients
give up on longer calls. Work that takes longer goes on as a job, and `job_wait` returns what is new.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from .. import errors
from ..api.client import Client
from ..api.session import Session
from ..jupyter import messages, outputs
from ..models.files import Transfer
from ..models.jobs import Job, JobProgress, JobStarted
from ..models.notebooks import Install
from ..models.runs import Run
from ..models.sessions import SessionAdded, SessionClosed
from ..models.status import Status
from ..runs import records
from .places import Places

WAIT_MOST = 40.0  # seconds
BUDGET = 8192  # bytes of each stream in an answer, unless asked otherwise

Wait = Annotated[float, Meta(ge=0, le=WAIT_MOST, description="Seconds to wait for the end; the work goes on after.")]
Budget = Annotated[int, Meta(ge=256, le=1 << 20, description="Bytes of each stream to return: its beginning and end.")]
SessionName = Annotated[str | None, Meta(description="A session's name or id; the active one when omitted.")]
KernelName = Annotated[
    str | None, Meta(description="The kernel for code: python3, ir (R), julia-1.11, …; the session keeps it.")
]
Limit = Annotated[float, Meta(gt=0, description="Seconds after which the work is ended.")] | None
JobId = Annotated[str, Meta(description="A job's id (run-…), or a unique prefix of it.")]


class Nothing(Struct, forbid_unknown_fields=True):
    """No arguments."""


class EnsureArguments(Struct, kw_only=True, forbid_unknown_fields=True):
    session: Annotated[str, Meta(description="A name for the session; the same name is the same runtime.")]
    gpu: Annotated[str | None, Meta(description="T4, L4, A100, …; or several in order of preference: L4,T4.")] = None
    cpu: Annotated[bool, Meta(description="No accelerator.")] = False
    tpu: Annotated[bool, Meta(description="A TPU.")] = False
    high_ram: Annotated[bool, Meta(description="Much memory.")] = False
    kernel_name: KernelName = None


class PushArguments(Struct, kw_only=True, forbid_unknown_fields=True):
    sources: Annotated[list[str], Meta(min_length=1, description="Files and folders here, below your roots.")]
    target: Annotated[str | None, Meta(description="Where on the runtime; with a final slash, into that folder.")] = (
        None
    )
    session: SessionName = None


class PullArguments(Struct, kw_only=True, forbid_unknown_fields=True):
    sources: Annotated[list[str], Meta(min_length=1, description="Files, folders or patterns on the runtime.")]
    target: Annotated[
        str | None, Meta(description="Where here, below your roots; with a final slash, into that folder.")
    ] = None
    session: SessionName = None


class RunArguments(Struct, kw_only=True, forbid_unknown_fields=True):
    code: Annotated[str | None, Meta(description="For the session's kernel, Python as a rule; its variables stay.")] = (
        None
    )
    command: Annotated[str | list[str] | None, Meta(description="A shell line, or a program and its arguments.")] = None
    session: SessionName = None
    cwd: Annotated[str | None, Meta(description="Working folder of a command.")] = None
    timeout: Limit = None
    wait: Wait = WAIT_MOST
    max_output: Budget = BUDGET
    kernel_name: KernelName = None


class StartArguments(Struct, kw_only=True, forbid_unknown_fields=True):
    command: Annotated[str | list[str], Meta(description="A shell line, or a program and its arguments.")]
    key: Annotated[str | None, Meta(description="The same key and command is the same job, however often.")] = None
    session: SessionName = None
    cwd: Annotated[str | None, Meta(description="Working folder.")] = None
    timeout: Limit = None


class WaitArguments(Struct, kw_only=True, forbid_unknown_fields=True):
    job: JobId
    session: SessionName = None
    wait: Wait = WAIT_MOST
    stdout_offset: Annotated[int, Meta(ge=0, description="Only output from this byte on.")] = 0
    stderr_offset: Annotated[int, Meta(ge=0, description="Only output from this byte on.")] = 0
    max_output: Budget = BUDGET


class KillArguments(Struct, kw_only=True, forbid_unknown_fields=True):
    job: JobId
    session: SessionName = None
    signal: Annotated[str, Meta(description="SIGINT, SIGTERM or SIGKILL.")] = "SIGTERM"


class InstallArguments(Struct, kw_only=True, forbid_unknown_fields=True):
    packages: Annotated[list[str], Meta(min_length=1, description="As pip takes them, such as numpy or torch>=2.4.")]
    session: SessionName = None
    timeout: Limit = None
    max_output: Budget = BUDGET


class CloseArguments(Struct, kw_only=True, forbid_unknown_fields=True):
    session: Annotated[str, Meta(description="A session's name or id.")]


@dataclass
class Call:
    """One call of a tool: takes its images and progress, and can be cancelled. `places`: the files here that it may
    touch."""

    client: Client
    places: Places = field(default_factory=Places)
    images: list[tuple[str, bytes]] = field(default_factory=list)  # media type, content
    latest: str = ""  # the last line of output so far
    stop: Callable[[], Any] | None = None  # ends the remote work
    cancelled: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """End the remote work. May be called from another thread, at any time."""
        self.cancelled.set()
        if self.stop is not None:
            self.stop()

    def stoppable(self, stop: Callable[[], Any]) -> None:
        """Set what ends the work that begins now; it is called at once if the call was cancelled already."""
        self.stop = stop
        if self.cancelled.is_set():
            stop()

    def see(self, text: str) -> None:
        """Note the last line of a printed text."""
        lines = text.strip().splitlines()
        if lines:
            self.latest = lines[-1][:200]


@dataclass(frozen=True)
class Tool:
    """One tool. `spends`: it may cost money. `destroys`: it ends or deletes something. `here`: it uses files here."""

    name: str
    description: str
    arguments: type[Struct]
    result: Any
    function: Callable[[Call, Any], Struct]
    reads: bool = False
    spends: bool = False
    destroys: bool = False
    repeatable: bool = False
    here: bool = False


def status(call: Call, arguments: Nothing) -> Status:
    return call.client.status()


def ensure(call: Call, arguments: EnsureArguments) -> SessionAdded:
    return call.client.ensure(
        arguments.session,
        gpu=arguments.gpu,
        cpu=arguments.cpu,
        tpu=arguments.tpu,
        high_ram=arguments.high_ram,
        kernel_name=arguments.kernel_name,
    )


def push(call: Call, arguments: PushArguments) -> Transfer:
    sources = call.places.sources(arguments.sources)
    return call.client.session(arguments.session).upload(*sources, to=arguments.target)


def pull(call: Call, arguments: PullArguments) -> Transfer:
    target = call.places.target(arguments.target, arguments.sources)
    return call.client.session(arguments.session).download(*arguments.sources, to=target)


def run(call: Call, arguments: RunArguments) -> Run:
    if (arguments.code is None) == (arguments.command is None):
        raise errors.UsageError(
            "give either code or command",
            hint="leave out code, which is for the kernel, or command, which is for the shell",
        )
    session = call.client.session(arguments.session)
    if arguments.code is not None:
        return _run_code(call, session, arguments)
    assert arguments.command is not None
    if arguments.kernel_name is not None:
        raise errors.UsageError("kernel_name is for code", hint="leave out kernel_name, or give code")
    job = session.job(arguments.command, cwd=arguments.cwd, timeout=arguments.timeout)
    call.stoppable(lambda: job.kill("SIGINT"))

    def see(stream: str, data: bytes) -> None:
        call.see(data.decode("utf-8", "replace"))

    document = job.result(on_output=see, wait=arguments.wait, max_output=arguments.max_output)
    _remember(session, document, _shown(arguments.command))
    return document


def _shown(command: str | list[str]) -> str:
    return command if isinstance(command, str) else " ".join(command)


def _remember(session: Session, document: Run, command: str) -> None:
    """Write a run down in the history, where a person looks for it; that this fails spoils no run."""
    with contextlib.suppress(errors.Error):
        records.remember(session._hold(), document, command)


def _run_code(call: Call, session: Session, arguments: RunArguments) -> Run:
    def see(event: messages.Event) -> None:
        if isinstance(event, messages.Stream):
            call.see(event.text)
        elif isinstance(event, messages.Display):
            call.images += _images(event.data)

    if arguments.cwd is not None:
        raise errors.UsageError("cwd is for commands", hint="leave out cwd; in Python: import os; os.chdir(PATH)")
    assert arguments.code is not None
    call.stoppable(session.interrupt)
    document = session.run(
        arguments.code,
        timeout=arguments.timeout,
        wait=arguments.wait,
        max_output=arguments.max_output,
        on_event=see,
        kernel_name=arguments.kernel_name,
    )
    _remember(session, document, arguments.code)
    return document


def _images(data: dict[str, Any]) -> list[tuple[str, bytes]]:
    """The image of a rich output in the first format that a conversation can show; empty if there is none."""
    kinds = [kind for kind in ("image/png", "image/jpeg") if isinstance(data.get(kind), str)]
    return [(kind, outputs.content(kind, data[kind])) for kind in kinds[:1]]


def job_start(call: Call, arguments: StartArguments) -> JobStarted:
    session = call.client.session(arguments.session)
    document = session.start(arguments.command, key=arguments.key, cwd=arguments.cwd, timeout=arguments.timeout)
    with contextlib.suppress(errors.Error):
        records.remember_job(session._hold(), document, _shown(arguments.command), "terminal")
    return document


def job_wait(call: Call, arguments: WaitArguments) -> JobProgress:
    job = call.client.session(arguments.session).find_job(arguments.job)
    document = job.wait(arguments.wait)
    progress = JobProgress(job=document, session=job.session.ref)
    for name, offset in (("stdout", arguments.stdout_offset), ("stderr", arguments.stderr_offset)):
        size = document.stdout_bytes if name == "stdout" else document.stderr_bytes
        skipped = max(size - offset - arguments.max_output, 0)
        content = job.logs(name, offset + skipped, arguments.max_output)
        setattr(progress, name, content.decode("utf-8", "replace"))
        setattr(progress, f"{name}_offset", offset + skipped + len(content))
        if skipped:
            setattr(progress, f"{name}_skipped", skipped)
    return progress


def job_kill(call: Call, arguments: KillArguments) -> Job:
    job = call.client.session(arguments.session).find_job(arguments.job)
    job.kill(arguments.signal)
    return job.show()


def install(call: Call, arguments: InstallArguments) -> Install:
    option = next((item for item in arguments.packages if re.match(r"\s*-|.*\s--?\w", item, re.DOTALL)), None)
    if option is not None:
        raise errors.UsageError(
            f"{option!r} is an option of pip, which decides where packages come from",
            name="NoOptions",
            hint="name packages; with options, a person can install them: lecoder-cgpu install PACKAGE -- OPTION",
        )
    session = call.client.session(arguments.session)
    return session.install(*arguments.packages, timeout=arguments.timeout, max_output=arguments.max_output)


def close(call: Call, arguments: CloseArguments) -> SessionClosed:
    return call.client.session(arguments.session).close()


TOOLS = (
    Tool("status", "Show the login, every runtime that is held, its GPUs and memory, and what it costs.",
         Nothing, Status, status, reads=True),
    Tool("ensure", "Make sure that a session with a runtime is there, and make it the active one. Safe to repeat. "
         "A runtime costs money until it is closed.",
         EnsureArguments, SessionAdded, ensure, spends=True, repeatable=True),
    Tool("run", "Run code in the session's kernel (Python as a rule), or a command; returns output and exit status. "
         "What takes longer than 40 seconds goes on as a job: use job_wait with the runId.",
         RunArguments, Run, run, spends=True),
    Tool("job_start", "Start a command that goes on without you; returns its job id at once.",
         StartArguments, JobStarted, job_start, spends=True),
    Tool("job_wait", "Wait for a job for up to 40 seconds; returns its state, exit status and the output that is new.",
         WaitArguments, JobProgress, job_wait, reads=True),
    Tool("job_kill", "Send a signal to a job and everything that it started.",
         KillArguments, Job, job_kill, destroys=True, repeatable=True),
    Tool("install", "Install Python packages for the session's kernel; tells whether the kernel must be restarted.",
         InstallArguments, Install, install, repeatable=True),
    Tool("push", "Copy files and folders to the runtime.", PushArguments, Transfer, push, repeatable=True, here=True),
    Tool("pull", "Copy files and folders from the runtime to this machine.",
         PullArguments, Transfer, pull, repeatable=True, here=True),
    Tool("close", "Release a session's runtime, so that it costs nothing any more; its files and variables are gone.",
         CloseArguments, SessionClosed, close, destroys=True, repeatable=True),
)  # fmt: skip


def call_tool(tool: Tool, call: Call, arguments: dict[str, Any]) -> Struct:
    """Check the arguments and call the tool's function.

    Raises:
        errors.UsageError: the arguments do not fit. errors.Error: the function failed.
    """
    try:
        checked = msgspec.convert(arguments, tool.arguments)
    except msgspec.ValidationError as error:
        raise errors.UsageError(
            f"{tool.name}: {error}", hint=f"see the inputSchema of {tool.name} in tools/list"
        ) from error
    return tool.function(call, checked)
