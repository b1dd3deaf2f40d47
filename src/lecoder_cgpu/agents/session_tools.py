"""Tools about what is there: runtimes, sessions, kernels, and what was run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import structs

from .. import errors
from ..history.entries import parse_since
from ..results import SessionsClosed
from . import arguments as given
from .desk import Call


def status(call: Call, arguments: given.StatusArguments) -> Any:
    if arguments.of == "jobs":
        return _jobs(call, arguments)
    if arguments.of == "usage":
        return call.client.usage()
    if arguments.of == "gpus":
        return call.client.gpus()
    name = None if arguments.session is None else call.client.session(arguments.session).name
    document = _once(msgspec.to_builtins(call.client.status()))
    if name is not None:
        document["runtimes"] = [runtime for runtime in document["runtimes"] if runtime.get("session") == name]
    return document


def _jobs(call: Call, arguments: given.StatusArguments) -> Any:
    session = call.session(arguments.session)
    found = session.jobs(arguments.limit)
    short = [structs.replace(job, command=job.command[:200]) if isinstance(job.command, str) else job for job in found]
    return {"status": "ok", "errorCode": 0, "jobs": short, "session": session.ref}


def _once(node: Any) -> Any:
    """A document that says nothing twice: GPUs in a list only, sizes as numbers only."""
    if isinstance(node, list):
        return [_once(item) for item in node]
    if not isinstance(node, dict):
        return node
    doubled = {name for name in node if f"{name}Bytes" in node} | ({"gpu"} if "gpus" in node else set())
    return {name: _once(value) for name, value in node.items() if name not in doubled}


def ensure(call: Call, arguments: given.EnsureArguments) -> Any:
    if arguments.endpoint is not None:
        call.desk.session = call.client.adopt(arguments.endpoint, arguments.session).id
    session = call.client.ensure(
        arguments.session,
        gpu=arguments.gpu,
        cpu=arguments.cpu,
        tpu=arguments.tpu,
        high_ram=arguments.high_ram,
        kernel_name=arguments.kernel_name,
    )
    call.desk.session = session.id
    return {"status": "ok", "errorCode": 0, "session": session.info(), "fresh": session.fresh}


def kernel(call: Call, arguments: given.KernelArguments) -> Any:
    session = call.session(arguments.session)
    document = {"status": "ok", "errorCode": 0, "session": session.ref}
    if arguments.action == "list":
        return document | {"kernels": session.kernels()}
    if arguments.action == "interrupt":
        session.interrupt()
    elif arguments.action == "restart":
        session.restart()
    done = {"interrupt": "interrupted", "restart": "restarted"}.get(arguments.action)
    return document | {"kernel": session.kernel()} | ({"action": done} if done else {})


def close(call: Call, arguments: given.CloseArguments) -> SessionsClosed:
    if arguments.all == (arguments.session is not None):
        raise errors.UsageError("name a session, or say all", hint="give either session or all")
    document = call.client.close_all() if arguments.all else call.client.close(str(arguments.session))
    if call.desk.session in [item.session_id for item in document.closed]:
        call.desk.session = None
    return document


def history(call: Call, arguments: given.HistoryArguments) -> Any:
    if arguments.run is not None:
        found = call.client.find_run(arguments.run)
        if found is None:
            raise errors.NotFoundError(
                f"there is no run {arguments.run!r} in the history", name="RunNotFound", hint="lecoder-cgpu logs"
            )
        return {"status": "ok", "errorCode": 0, "run": found}
    since = parse_since(arguments.since, datetime.now(UTC)) if arguments.since else None
    entries = call.client.history(arguments.limit, status=arguments.status, since=since)
    return {"status": "ok", "errorCode": 0, "runs": [_line(entry) for entry in entries]}


def _line(entry: Any) -> dict[str, Any]:
    """A run of the history, without its output."""
    short = structs.replace(entry, stdout="", stderr="", traceback=[], display_data=[], command=entry.command[:200])
    if short.error is not None:
        cut = structs.replace(short.error, evalue=short.error.evalue[:300], traceback=[])
        short = structs.replace(short, error=cut)
    left_out = ("stdout", "stderr", "traceback", "display_data", "runtime", "id", "execution_count", "sessionId")
    return {name: value for name, value in msgspec.to_builtins(short).items() if name not in left_out}
