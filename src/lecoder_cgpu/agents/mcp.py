"""An MCP server on stdin and stdout that offers `tools`. It needs the extra `mcp`; only its command imports it."""

from __future__ import annotations

import contextlib
import io
import json
import threading
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import anyio
import mcp_types as types
import msgspec
from mcp.server import Server, ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError

from .. import __version__, config, errors
from ..api.client import Client
from ..models.base import ErrorInfo, Failure
from ..models.notebooks import Install
from ..models.runs import Run
from .places import Places
from .tools import TOOLS, Call, Tool, call_tool

PROGRESS_EVERY = 5.0  # seconds
ANSWER_WITHIN = 44.0  # seconds; a call that takes longer goes on, and the same call made again waits for it
ROOTS_WITHIN = 10.0  # seconds for the client to name its roots
CANCEL_WITHIN = 5.0  # seconds to tell the runtime that a call was cancelled
IMAGES = 4  # in one answer
IMAGE_SIDE = 512  # pixels
IMAGE_BYTES = 128 << 10

INSTRUCTIONS = (
    "Runs code on remote GPUs and Jupyter servers. Runtimes cost money while they are held: use status to see what is "
    "held, and close to release it. Work that takes longer than a call goes on as a job."
)


def serve(allowed: Sequence[str] = ()) -> None:
    """Serve until stdin is closed.

    Args:
        allowed: folders here that tools may touch, beside the client's roots.
    """
    _allowed[:] = allowed
    anyio.run(_serve)


async def _serve() -> None:
    server: Server[Any] = Server(
        "lecoder-cgpu", version=__version__, instructions=INSTRUCTIONS, on_list_tools=_list_tools, on_call_tool=_call
    )
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


async def _list_tools(context: ServerRequestContext[Any], params: Any) -> types.ListToolsResult:
    return types.ListToolsResult(tools=[_described(tool) for tool in TOOLS])


def _described(tool: Tool) -> types.Tool:
    return types.Tool(
        name=tool.name,
        description=tool.description,
        input_schema=_schema(tool.arguments),
        output_schema=_either(tool.result, Failure),
        annotations=types.ToolAnnotations(
            read_only_hint=tool.reads,
            destructive_hint=tool.destroys,
            idempotent_hint=tool.repeatable or tool.reads,
            open_world_hint=tool.spends,
        ),
    )


def _schema(kind: Any) -> dict[str, Any]:
    """The schema of a class with the object itself at the top: the protocol allows no reference there."""
    schema = msgspec.json.schema(kind)
    name = schema.pop("$ref", "").rpartition("/")[2]
    return {**schema, **schema.get("$defs", {}).get(name, {})}


def _either(kind: Any, other: Any) -> dict[str, Any]:
    """The schema of one of two documents. Some clients check the answers of failed calls with it, too."""
    references, definitions = msgspec.json.schema_components([kind, other], ref_template="#/$defs/{name}")
    return {"type": "object", "anyOf": list(references), "$defs": definitions}


async def _call(context: ServerRequestContext[Any], params: types.CallToolRequestParams) -> types.CallToolResult:
    tool = next((tool for tool in TOOLS if tool.name == params.name), None)
    if tool is None:
        return _failed(
            errors.UsageError(
                f"there is no tool {params.name!r}", hint="the tools are: " + ", ".join(tool.name for tool in TOOLS)
            )
        )
    key = json.dumps([params.name, params.arguments], sort_keys=True)
    work = _going_on.get(key)
    if work is None:
        work = _Work(tool, params.arguments or {}, await _places(context, tool))
    _going_on[key] = work
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(_tell_progress, context, work.call)
            with anyio.move_on_after(ANSWER_WITHIN):
                await anyio.to_thread.run_sync(work.done.wait, abandon_on_cancel=True)
            group.cancel_scope.cancel()
    except anyio.get_cancelled_exc_class():
        _going_on.pop(key, None)
        with anyio.move_on_after(CANCEL_WITHIN, shield=True):
            await anyio.to_thread.run_sync(work.call.cancel, abandon_on_cancel=True)
        raise
    if not work.done.is_set():
        return _failed(
            errors.TimeLimit(
                f"{tool.name} goes on", name="StillWorking", hint="make the same call again to wait for it"
            )
        )
    _going_on.pop(key, None)
    return _failed(work.outcome) if isinstance(work.outcome, errors.Error) else _answer(work.outcome, work.call)


class _Work:
    """One call in a thread of its own."""

    def __init__(self, tool: Tool, arguments: dict[str, Any], places: Places) -> None:
        self.call = Call(Client(), places)
        self.done = threading.Event()
        self.outcome: Any = None
        threading.Thread(target=self._do, args=(tool, arguments), daemon=True).start()

    def _do(self, tool: Tool, arguments: dict[str, Any]) -> None:
        try:
            self.outcome = call_tool(tool, self.call, arguments)
        except errors.Error as error:
            self.outcome = error
        except Exception as error:
            self.outcome = errors.InternalError(f"{type(error).__name__}: {error}")
        finally:
            self.done.set()


async def _places(context: ServerRequestContext[Any], tool: Tool) -> Places:
    """The files here that a call may touch. The client is asked each time: its roots may change."""
    if not tool.here:
        return Places()
    roots: list[str] = []
    capabilities = context.session.client_capabilities
    if capabilities is not None and capabilities.roots is not None:
        with contextlib.suppress(MCPError, TimeoutError):  # no answer: as if it had no roots
            with anyio.fail_after(ROOTS_WITHIN):
                found = await context.session.send_request(types.ListRootsRequest(), types.ListRootsResult)
            roots = [url2pathname(urlsplit(str(root.uri)).path) for root in found.roots]
    return Places(roots, _allowed, [config.config_dir(), config.Config().state_dir])


_allowed: list[str] = []  # by a person, see `serve`
_going_on: dict[str, _Work] = {}  # by tool and arguments, until the answer was sent


async def _tell_progress(context: ServerRequestContext[Any], call: Call) -> None:
    elapsed = 0.0
    while True:
        await anyio.sleep(PROGRESS_EVERY)
        elapsed += PROGRESS_EVERY
        await context.session.report_progress(elapsed, message=call.latest or None)


def _answer(document: Any, call: Call) -> types.CallToolResult:
    """A document as structured content and as text, with its images. A run that failed is an error, too."""
    content = msgspec.to_builtins(document)
    pictures = [_thumbnail(kind, data) for kind, data in call.images[-IMAGES:]]
    failed = isinstance(document, (Run, Install)) and document.status not in ("ok", "running")
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=json.dumps(content)), *(item for item in pictures if item)],
        structured_content=content,
        is_error=failed,
    )


def _failed(error: errors.Error) -> types.CallToolResult:
    document = Failure(error_code=error.code, exit_code=error.exit_status, error=ErrorInfo.of(error))
    content = msgspec.to_builtins(document)
    text = types.TextContent(type="text", text=json.dumps(content))
    return types.CallToolResult(content=[text], structured_content=content, is_error=True)


def _thumbnail(kind: str, data: bytes) -> types.ImageContent | None:
    """The image, made smaller if it is large; None if the data are no image."""
    import base64

    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as picture:
            if len(data) <= IMAGE_BYTES:
                picture.verify()
            else:
                small = picture.convert("RGB")
                small.thumbnail((IMAGE_SIDE, IMAGE_SIDE))
                written = io.BytesIO()
                small.save(written, "JPEG", quality=80)
                kind, data = "image/jpeg", written.getvalue()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # all that Pillow says of bad data
        return None
    return types.ImageContent(type="image", data=base64.b64encode(data).decode(), mime_type=kind)
