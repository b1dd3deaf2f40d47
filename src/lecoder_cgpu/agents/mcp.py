"""An MCP server on stdin and stdout that offers `tools`. It needs the extra `mcp`; only its command imports it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import threading
from collections.abc import Sequence
from typing import Any

import anyio
import mcp_types as types
import msgspec
from mcp.server import Server, ServerRequestContext
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from .. import __version__, config, errors
from ..api.client import Client
from ..models.base import ErrorInfo, Failure
from ..system import images
from . import answers, stdio
from .arguments import BUDGET, BUDGET_MOST, schema
from .desk import Call, Desk
from .order import Queue, Turn
from .places import Places, folder_of
from .tools import TOOLS, Tool, call_tool, shown

PROGRESS_EVERY = 5.0  # seconds
ANSWER_WITHIN = 44.0  # seconds; a call that takes longer goes on, and the same call made again waits for it
ROOTS_WITHIN = 10.0  # seconds for the client to name its roots
CANCEL_WITHIN = 5.0  # seconds to tell the runtime that a call was cancelled
END_WITHIN = 1.7  # seconds to tell it so for all calls when a signal ends the server
FAILURE_ROOM = 3 << 10  # bytes of an answer that has nothing but an error
IMAGES = 4  # in one answer
IMAGE_SIDE = 512  # pixels
IMAGE_BYTES = 128 << 10

INSTRUCTIONS = (
    "Runs code on remote GPUs and Jupyter servers. Calls without session use the one that this server used first or "
    "ensured last. Runtimes cost money while they are held: status shows what is held, "
    "close releases it. errorCode 0 is success; else error.suggestion says what to do. Work that takes longer than a "
    "call goes on as a job."
)


def serve(
    settings: config.Config,
    allowed: Sequence[str] = (),
    session: str | None = None,
    over_http: tuple[socket.socket, str] | None = None,
) -> None:
    """Serve until stdin is closed, or a signal comes.

    Args:
        settings: those of the command; its profile is that of every call, whichever is chosen meanwhile.
        allowed: folders here that tools may touch, beside the client's roots.
        session: the session to use, by its name or id; else the first that a call uses or ensures.
        over_http: a socket that listens, and the token that clients have to show; None serves stdin and stdout.
    """
    global _settings
    _settings = settings.fixed()
    _allowed[:] = allowed
    _desk.session = session
    anyio.run(_serve, over_http)


def _server() -> Server[Any]:
    return Server(
        "lecoder-cgpu", version=__version__, instructions=INSTRUCTIONS, on_list_tools=_list_tools, on_call_tool=_call
    )


async def _serve(over_http: tuple[socket.socket, str] | None) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(_end_by_signal)
        if over_http is None:
            await stdio.serve(_server())
        else:
            from . import http

            await http.serve(_server(), *over_http)
        group.cancel_scope.cancel()


async def _end_by_signal() -> None:
    """End as Ctrl-C ends a command: what the calls have running is interrupted. The process ends at once: the thread
    that reads stdin could not be ended otherwise."""
    names = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)]
    try:
        with anyio.open_signal_receiver(*names) as signals:
            async for number in signals:
                with anyio.move_on_after(END_WITHIN):
                    async with anyio.create_task_group() as group:
                        for work in list(_running):
                            group.start_soon(_cancel, work)
                os._exit(128 + number)
    except NotImplementedError:  # Windows has no such signals
        return


async def _cancel(work: _Work) -> None:
    """End a call. Nobody waits for it any more, also if it can only wait itself, as `job_wait` does."""
    work.done.set()
    await anyio.to_thread.run_sync(work.call.cancel, abandon_on_cancel=True)


async def _list_tools(context: ServerRequestContext[Any], params: Any) -> types.ListToolsResult:
    return types.ListToolsResult(tools=[_described(tool) for tool in TOOLS])


def _described(tool: Tool) -> types.Tool:
    return types.Tool(
        name=tool.name,
        description=tool.description,
        input_schema=schema(tool.arguments),
        annotations=types.ToolAnnotations(
            read_only_hint=tool.reads,
            destructive_hint=tool.destroys,
            idempotent_hint=tool.repeatable or tool.reads,
        ),
    )


async def _call(context: ServerRequestContext[Any], params: types.CallToolRequestParams) -> types.CallToolResult:
    tool = next((tool for tool in TOOLS if tool.name == params.name), None)
    if tool is None:
        return _failed(
            errors.UsageError(
                f"there is no tool {shown(repr(params.name))}",
                hint="the tools are: " + ", ".join(tool.name for tool in TOOLS),
            )
        )
    key = _key(params)
    work = _unanswered.pop(key, None)
    if work is None:
        turn = _queue.enter() if tool.ordered else None
        try:
            places = await _places(context, tool)
        except BaseException:
            if turn is not None:
                turn.leave()
            raise
        work = _Work(tool, params.arguments or {}, places, turn)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(_tell_progress, context, work.call)
            with anyio.move_on_after(ANSWER_WITHIN):
                await anyio.to_thread.run_sync(work.done.wait, abandon_on_cancel=True, limiter=_waiting)
            group.cancel_scope.cancel()
    except anyio.get_cancelled_exc_class():
        with anyio.move_on_after(CANCEL_WITHIN, shield=True):
            await _cancel(work)
        raise
    if not work.done.is_set():
        _unanswered[key] = work
        return _failed(
            errors.TimeLimit(
                f"{tool.name} goes on", name="StillWorking", hint="make the same call again to wait for it"
            )
        )
    return _failed(work.outcome) if isinstance(work.outcome, errors.Error) else _answer(work)


def _key(params: types.CallToolRequestParams) -> str:
    """By what a call is known when it is made again."""
    try:
        return json.dumps([params.name, params.arguments], sort_keys=True)
    except RecursionError:  # nested too deeply: it is refused later
        return params.name


def _client() -> Client:
    """A client for one call, which reads the settings anew."""
    return Client(_settings.options.get("backend"), profile=_settings.profile.name, config_file=_settings.config_file)


class _Work:
    """One call in a thread of its own."""

    def __init__(self, tool: Tool, arguments: dict[str, Any], places: Places, turn: Turn | None) -> None:
        self.call = Call(_client(), places, _desk)
        if turn is not None:
            self.call.begun = turn.leave
        self.done = threading.Event()
        self.outcome: Any = None
        budget = arguments.get("max_output", arguments.get("limit", BUDGET if "wait" in arguments else 0))
        self.budget = min(budget, BUDGET_MOST) if isinstance(budget, int) else BUDGET
        _running.add(self)
        threading.Thread(target=self._do, args=(tool, arguments, turn), daemon=True).start()

    def _do(self, tool: Tool, arguments: dict[str, Any], turn: Turn | None) -> None:
        try:
            if turn is not None:
                turn.wait()
            if self.call.cancelled.is_set():
                raise KeyboardInterrupt
            self.outcome = call_tool(tool, self.call, arguments)
        except errors.Error as error:
            self.outcome = error
        except KeyboardInterrupt:
            self.outcome = errors.RuntimeFailure("the call was cancelled", name="Interrupted")
        except Exception as error:
            self.outcome = errors.InternalError(f"{type(error).__name__}: {error}")
        finally:
            self.call.begun()
            _running.discard(self)
            self.done.set()


async def _places(context: ServerRequestContext[Any], tool: Tool) -> Places:
    """The files here that a call may touch. The client is asked each time: its roots may change."""
    if not tool.here:
        return Places()
    roots: list[str] | None = None
    capabilities = context.session.client_capabilities
    if capabilities is not None and capabilities.roots is not None and context.session.can_send_request:
        roots = []  # no answer, or one that makes no sense: nothing is open, which is told
        with contextlib.suppress(MCPError, TimeoutError, ValidationError):
            with anyio.fail_after(ROOTS_WITHIN):
                found = await context.session.send_request(types.ListRootsRequest(), types.ListRootsResult)
            roots = [folder for root in found.roots if (folder := folder_of(str(root.uri))) is not None]
    return Places(roots, _allowed, [config.config_dir(), _settings.fixed().state_dir])


_settings = config.Config()  # of the command, see `serve`
_allowed: list[str] = []  # by a person, see `serve`
_desk = Desk()
_queue = Queue()
_running: set[_Work] = set()
_unanswered: dict[str, _Work] = {}  # by tool and arguments: calls that took too long to be answered
_waiting = anyio.CapacityLimiter(1000)  # threads that wait for calls


async def _tell_progress(context: ServerRequestContext[Any], call: Call) -> None:
    elapsed = 0.0
    while True:
        await anyio.sleep(PROGRESS_EVERY)
        elapsed += PROGRESS_EVERY
        await context.session.report_progress(elapsed, message=call.latest or None)


def _answer(work: _Work) -> types.CallToolResult:
    """A document as text, with its images. What failed is an error, too."""
    content = msgspec.to_builtins(work.outcome)
    pictures = [_thumbnail(kind, data) for kind, data in work.call.images[-IMAGES:]]
    failed = isinstance(content, dict) and content.get("status", "ok") in ("error", "abort", "unknown")
    text = types.TextContent(type="text", text=answers.text(content, work.budget))
    return types.CallToolResult(content=[text, *(item for item in pictures if item)], is_error=failed)


def _failed(error: errors.Error) -> types.CallToolResult:
    document = Failure(error_code=error.code, exit_code=error.exit_status, error=ErrorInfo.of(error))
    text = types.TextContent(type="text", text=answers.text(msgspec.to_builtins(document), room=FAILURE_ROOM))
    return types.CallToolResult(content=[text], is_error=True)


def _thumbnail(kind: str, data: bytes) -> types.ImageContent | None:
    """The image, made smaller if it is large; None if the data are no image."""
    import base64

    try:
        with images.opened(data) as picture:
            if len(data) <= IMAGE_BYTES:
                picture.verify()
            else:
                small = picture.convert("RGB")
                small.thumbnail((IMAGE_SIDE, IMAGE_SIDE))
                written = io.BytesIO()
                small.save(written, "JPEG", quality=80)
                kind, data = "image/jpeg", written.getvalue()
    except (OSError, ValueError, SyntaxError):  # all that Pillow says of bad data
        return None
    return types.ImageContent(type="image", data=base64.b64encode(data).decode(), mime_type=kind)
