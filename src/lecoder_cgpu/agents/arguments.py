"""What the tools take. Descriptions are short: every client sends all of them with every conversation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

WAIT_MOST = 40.0  # seconds
BUDGET = 8192  # bytes of each stream in an answer, unless asked otherwise
BUDGET_MOST = 1 << 18

Wait = Annotated[float, Meta(ge=0, le=WAIT_MOST, description="Seconds; the work goes on after.")]
Budget = Annotated[int, Meta(ge=256, le=BUDGET_MOST, description="Bytes of each stream: its beginning and end.")]
SessionName = Annotated[str | None, Meta(description="Default: the active one.")]
Limit = Annotated[float, Meta(gt=0, le=1e9, description="Seconds; then the work is ended.")] | None
JobId = Annotated[str, Meta(description="A job's id, its key, or a unique beginning.")]
Command = Annotated[str | list[str], Meta(description="A shell line, or a program and its arguments.")]
Environment = Annotated[dict[str, str] | None, Meta(description="Variables for the command.")]
Offset = Annotated[int, Meta(ge=0, description="Output from this byte on.")]


class _Arguments(Struct, kw_only=True, forbid_unknown_fields=True):
    """Arguments of a tool."""


class StatusArguments(_Arguments):
    of: Literal["runtimes", "usage", "gpus", "jobs"] = "runtimes"
    limit: Annotated[int, Meta(ge=1, le=100, description="Of jobs.")] = 20
    session: SessionName = None


class EnsureArguments(_Arguments):
    session: Annotated[str, Meta(description="Its name; the same name is the same runtime.")]
    gpu: Annotated[str | None, Meta(description="T4, L4, A100; several in order of preference: L4,T4.")] = None
    cpu: Annotated[bool, Meta(description="No accelerator.")] = False
    tpu: bool = False
    high_ram: bool = False
    kernel_name: str | None = None
    endpoint: Annotated[str | None, Meta(description="Take over this runtime, which status lists.")] = None


class RunArguments(_Arguments):
    code: Annotated[str | None, Meta(description="For the kernel, Python as a rule; its variables stay.")] = None
    command: Annotated[str | list[str] | None, Meta(description="A shell line, or a program and its arguments.")] = None
    session: SessionName = None
    cwd: Annotated[str | None, Meta(description="Of a command.")] = None
    environment: Environment = None
    timeout: Limit = None
    wait: Wait = WAIT_MOST
    max_output: Budget = BUDGET
    kernel_name: Annotated[str | None, Meta(description="python3, ir (R); the session keeps it.")] = None


class StartArguments(_Arguments):
    command: Command
    key: Annotated[str | None, Meta(description="The same key and command is the same job.")] = None
    session: SessionName = None
    cwd: str | None = None
    environment: Environment = None
    timeout: Limit = None
    restarts: Annotated[int, Meta(ge=0, description="Elsewhere, when its runtime is lost.")] = 0


class WaitArguments(_Arguments):
    job: JobId
    session: SessionName = None
    wait: Wait = WAIT_MOST
    stdout_offset: Offset = 0
    stderr_offset: Offset = 0
    attempt: Annotated[int, Meta(ge=1, description="job.attempt of the last answer.")] | None = None
    max_output: Annotated[int, Meta(ge=256, le=BUDGET_MOST, description="Bytes of each stream.")] = BUDGET


class LogsArguments(_Arguments):
    job: JobId
    stream: Literal["stdout", "stderr"] = "stdout"
    offset: Annotated[int, Meta(description="In bytes; negative from the end.")] = 0
    limit: Annotated[int, Meta(ge=1, le=BUDGET_MOST, description="Bytes.")] = BUDGET
    session: SessionName = None


class KillArguments(_Arguments):
    job: JobId
    signal: Literal["SIGINT", "SIGTERM", "SIGKILL"] = "SIGTERM"
    session: SessionName = None


class KernelArguments(_Arguments):
    action: Literal["interrupt", "restart", "status", "list"]
    session: SessionName = None


class InstallArguments(_Arguments):
    packages: Annotated[list[str], Meta(min_length=1, description="As pip takes them: numpy, torch>=2.4.")]
    session: SessionName = None
    timeout: Limit = None
    max_output: Budget = BUDGET


class NotebookArguments(_Arguments):
    path: Annotated[str | None, Meta(description="Of the notebook here.")] = None
    job: Annotated[str | None, Meta(description="Instead: fetch what this notebook job has done.")] = None
    output: Annotated[str | None, Meta(description="File here for the executed one. Default: beside it.")] = None
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)
    session: SessionName = None
    timeout: Limit = None
    keep_going: Annotated[bool, Meta(description="Run on after a cell that failed.")] = False
    wait: Wait = WAIT_MOST


class HistoryArguments(_Arguments):
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    status: Literal["ok", "error", "abort", "unknown", "running", "lost"] | None = None
    since: Annotated[str | None, Meta(description="today, 2h, 7d, 2026-11-29")] = None
    run: Annotated[str | None, Meta(description="Only this run, with its output.")] = None


class FilesArguments(_Arguments):
    path: str = "."
    session: SessionName = None


class PushArguments(_Arguments):
    sources: Annotated[list[str], Meta(min_length=1, description="Files and folders here, below your roots.")]
    target: Annotated[str | None, Meta(description="There; with a final slash, into that folder.")] = None
    session: SessionName = None


class SyncArguments(_Arguments):
    local: Annotated[str, Meta(description="A folder here, below your roots.")]
    remote: Annotated[str, Meta(description="The folder there.")]
    delete: Annotated[bool, Meta(description="Delete there what is not here.")] = False
    dry_run: Annotated[bool, Meta(description="Only tell what differs.")] = False
    session: SessionName = None


class PullArguments(_Arguments):
    sources: Annotated[list[str], Meta(min_length=1, description="Files, folders or patterns there.")]
    target: Annotated[str | None, Meta(description="Here, below your roots; a final slash: into that folder.")] = None
    session: SessionName = None


class CloseArguments(_Arguments):
    session: Annotated[str | None, Meta(description="Its name or id.")] = None
    all: Annotated[bool, Meta(description="All sessions; tells what the account still holds.")] = False


def schema(kind: type[Struct]) -> dict[str, Any]:
    """The JSON Schema of a tool's arguments, as short as it can be: no titles, no definitions, no null that only says
    that an argument may be left out."""
    whole = msgspec.json.schema(kind)
    name = str(whole.pop("$ref", "")).rpartition("/")[2]
    found: dict[str, Any] = _short(whole["$defs"][name])
    found["additionalProperties"] = False
    return found


def _short(node: Any) -> Any:
    if isinstance(node, list):
        return [_short(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: _short(value) for key, value in node.items() if key not in ("title",)}
    if node.get("default", 0) in (None, {}) or node.get("default") is False:
        node.pop("default", None)
    if node.get("required") == []:
        del node["required"]
    choices = [item for item in node.get("anyOf", []) if item != {"type": "null"}]
    if "anyOf" in node and len(choices) == 1:
        del node["anyOf"]
        node = {**choices[0], **node}
    elif choices:
        node["anyOf"] = choices
    if isinstance(node.get("enum"), list) and None in node["enum"]:
        node["enum"] = [item for item in node["enum"] if item is not None]
    return node
