"""The MCP server on stdin and stdout. Only `mcp` imports it.

The SDK drops a message that it cannot read, so that its sender waits for ever, and fails when nobody reads stdout any
more. Here each message gets an answer, and a client that has gone is an end like any other.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from typing import Any

import anyio
import mcp_types as types
from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

_GONE = (errno.EPIPE, errno.EINVAL, errno.ECONNRESET)  # of a write to a pipe without a reader; EINVAL on Windows


async def serve(server: Server[Any]) -> None:
    """Serve until stdin is closed, or until nobody reads stdout any more."""
    try:
        async with stdio_server() as (reading, writing), anyio.create_task_group() as group:
            onward, passed_on = anyio.create_memory_object_stream[SessionMessage | Exception](0)
            group.start_soon(_pass_on, reading, onward, writing)
            try:
                await server.run(passed_on, writing, server.create_initialization_options())
            except anyio.get_cancelled_exc_class():
                os._exit(0)  # nobody reads stdout, the calls were cancelled; stdin may be open, and its reader waits
            group.cancel_scope.cancel()
    except* OSError as problems:
        if not all(isinstance(found, OSError) and found.errno in _GONE for found in _leaves(problems)):
            raise


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    return [
        leaf
        for found in group.exceptions
        for leaf in (_leaves(found) if isinstance(found, BaseExceptionGroup) else [found])
    ]


async def _pass_on(reading: Any, onward: Any, writing: Any) -> None:
    """Give the server the messages that are some, and answer the others."""
    async with onward:
        async for item in reading:
            message = read_again(item) if isinstance(item, ValidationError) else item
            with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):  # the server has ended
                if isinstance(message, types.JSONRPCError):
                    await writing.send(SessionMessage(message))
                elif message is not None:
                    await onward.send(message)


def read_again(problem: ValidationError) -> SessionMessage | types.JSONRPCError | None:
    """What to do with a line that the SDK could not read: a message after all, an answer, or nothing.

    JSON may spell half a character (`"\\ud800"`): the SDK refuses that altogether, and the tools can say where it is.
    """
    found: Any = None
    code, wrong = types.PARSE_ERROR, "the line is no JSON; send one message of JSON-RPC 2.0 in each line"
    parts = problem.errors(include_url=False, include_context=False)
    if parts[0]["type"] == "json_invalid":
        line = str(parts[0]["input"])
        if not line.strip():
            return None
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(line)
            with contextlib.suppress(ValidationError):
                return SessionMessage(types.jsonrpc_message_adapter.validate_python(found, by_name=False))
    else:
        found = next(
            (part["input"] for part in parts if isinstance(part["input"], dict) and "jsonrpc" in part["input"]), []
        )
    if found is not None:
        code, wrong = types.INVALID_REQUEST, "no message of JSON-RPC 2.0: method is a text, params an object"
    number = found.get("id") if isinstance(found, dict) else None
    known = isinstance(number, int | str) and not isinstance(number, bool) and not _is_half(number)
    return types.JSONRPCError(
        jsonrpc="2.0", id=number if known else None, error=types.ErrorData(code=code, message=wrong)
    )


def _is_half(number: int | str) -> bool:
    return isinstance(number, str) and any("\ud800" <= letter <= "\udfff" for letter in number)
