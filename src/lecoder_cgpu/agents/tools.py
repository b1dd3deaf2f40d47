"""The tools that a coding agent may call: a static list over the library, with the documents that `--json` prints.

Only `mcp` knows the protocol. Every tool returns little more than `WAIT_MOST` seconds later at most, because clients
give up on longer calls. Work that takes longer goes on as a job, and `job_wait` returns what is new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Struct

from .. import errors
from ..api.arguments import text_problem
from . import arguments as given
from . import file_tools, session_tools, work_tools
from .desk import Call

SHOWN = 300  # characters of what an agent gave, in a message


@dataclass(frozen=True)
class Tool:
    """One tool.

    `reads`: it changes nothing. `destroys`: it may end, delete or overwrite something. `repeatable`: the same call
    again changes nothing more. `here`: it uses files here. `ordered`: calls begin in the order in which they come.
    """

    name: str
    description: str
    arguments: type[Struct]
    function: Callable[[Call, Any], Any]
    reads: bool = False
    destroys: bool = False
    repeatable: bool = False
    here: bool = False
    ordered: bool = False


TOOLS = (
    Tool("status", "Show the login, every runtime that is held with its GPUs and memory, and sessions. of=usage: units "
         "left and burned; of=gpus: what may be asked for; of=jobs: jobs and runs on the runtime.",
         given.StatusArguments, session_tools.status, reads=True),
    Tool("ensure", "Have a session with a runtime, and use it from now on. Safe to repeat; starts another runtime if "
         "the old one was lost. It costs money until close.",
         given.EnsureArguments, session_tools.ensure, repeatable=True),
    Tool("run", "Run code in the kernel, or a command as a process; returns output, error and exit status. What takes "
         "longer than wait goes on: job_wait with its runId. What truncated names, job_logs reads.",
         given.RunArguments, work_tools.run, destroys=True, ordered=True),
    Tool("job_start", "Start a command that goes on without you; returns its job id at once.",
         given.StartArguments, work_tools.job_start, destroys=True, ordered=True),
    Tool("job_wait", "Wait for a job; returns its state, at the end errorCode and error as run does, and output from "
         "the offsets on, cut at lines. Go on from stdoutOffset and stderrOffset.",
         given.WaitArguments, work_tools.job_wait, reads=True),
    Tool("job_logs", "Read a range of what a job or run wrote: any bytes, also of long output. Go on from nextOffset.",
         given.LogsArguments, work_tools.job_logs, reads=True),
    Tool("job_kill", "Send a signal to a job and everything that it started.",
         given.KillArguments, work_tools.job_kill, destroys=True, repeatable=True),
    Tool("kernel", "Interrupt the kernel, restart it (variables are lost), show its state, or list which kernels there "
         "are.", given.KernelArguments, session_tools.kernel, destroys=True, repeatable=True),
    Tool("install", "Install Python packages for the kernel; restartNeeded tells whether to restart it.",
         given.InstallArguments, work_tools.install, destroys=True, repeatable=True),
    Tool("notebook", "Execute a notebook with parameters, and write it with its outputs. If it still runs after wait, "
         "call it again with job.",
         given.NotebookArguments, work_tools.notebook, destroys=True, here=True, ordered=True),
    Tool("history", "What was run, newest first, also on runtimes that are gone; with run, one with its output.",
         given.HistoryArguments, session_tools.history, reads=True),
    Tool("files", "List a folder of the runtime.", given.FilesArguments, file_tools.files, reads=True),
    Tool("push", "Copy files and folders to the runtime.",
         given.PushArguments, file_tools.push, destroys=True, repeatable=True, here=True),
    Tool("sync", "Make a folder on the runtime like one here; .gitignore holds. dry_run tells what differs.",
         given.SyncArguments, file_tools.sync, destroys=True, repeatable=True, here=True),
    Tool("pull", "Copy files and folders from the runtime to this machine.",
         given.PullArguments, file_tools.pull, destroys=True, repeatable=True, here=True),
    Tool("close", "Release a session's runtime, or all of them, so that they cost nothing. Files and variables there "
         "are gone. held tells what the account still holds.",
         given.CloseArguments, session_tools.close, destroys=True, repeatable=True),
)  # fmt: skip


def call_tool(tool: Tool, call: Call, arguments: dict[str, Any]) -> Any:
    """Check the arguments and call the tool's function.

    Raises:
        errors.UsageError: the arguments do not fit. errors.Error: the function failed.
    """
    try:
        wrong = [
            f"{shown(ascii(name)[1:-1])} {problem}"
            for name, value in arguments.items()
            for text in (name, *_texts(value))
            if (problem := text_problem(text, name)) is not None
        ]
        checked = None if wrong else msgspec.convert(arguments, tool.arguments)
    except msgspec.ValidationError as error:
        wrong = [shown(str(error))]
    except RecursionError:
        wrong = ["an argument is nested too deeply"]
    if wrong:
        raise errors.BadArgument(f"{tool.name}: {wrong[0]}", hint=f"see the inputSchema of {tool.name} in tools/list")
    return tool.function(call, checked)


def shown(text: str) -> str:
    """The beginning of a text that may be of any length, for a message."""
    return text if len(text) <= SHOWN else f"{text[: SHOWN // 2]}…{text[-SHOWN // 2 :]}"


def _texts(value: Any) -> Iterator[str]:
    """All texts in an argument."""
    if isinstance(value, str):
        yield value
    for part in value if isinstance(value, list) else (*value, *value.values()) if isinstance(value, dict) else ():
        yield from _texts(part)
