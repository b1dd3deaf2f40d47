"""A client's channels to one kernel: sends requests, takes messages, and gets a dropped socket back.

`execution_watch` follows one execution to its end.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from .. import errors
from ..net.retry import reconnect
from ..net.websocket import WebSocket
from ..system import logs
from ..system.interrupts import Hold, naming
from . import messages
from .execution import Execution
from .outcome import Outcome
from .server import Server
from .watch_driver import InputSource, Recorder, Responder, WatchDriver
from .watch_limits import UNLIMITED, WatchLimits

RECONNECT_FOR = 75.0  # seconds of trying to get a dropped socket back
BACK_WAIT = 10.0  # seconds to wait for a kernel that died to be back
BACK_PAUSE = 0.2

T = TypeVar("T")

MESSAGE_MOST = 10 << 20  # bytes (protocol J22)
MESSAGE_SMALL = 64 << 10  # bytes that any server takes
TOO_BIG = 1009  # the close code for a message that is too large

BASES_WAIT = 2.0  # seconds to wait for the class hierarchy of an exception
_BASES = "[c.__module__ + '.' + c.__qualname__ for c in type(__import__('sys').last_value).__mro__]"


class Completion(Struct):
    """What a kernel proposes to put in place of the characters from `cursor_start` to `cursor_end`."""

    matches: list[str] = []
    cursor_start: int = 0
    cursor_end: int = 0
    status: str = "ok"


class Completeness(Struct):
    """Whether code is `complete`, `incomplete`, `invalid` or `unknown`; `indent` is for the next line."""

    status: str = "unknown"
    indent: str = ""


def _too_large(size: int, limit: str) -> errors.UsageError:
    return errors.UsageError(
        f"the code is too long for one message: {size / (1 << 20):.1f} MiB, and {limit}",
        name="CodeTooLong",
        hint="send it as a file: lecoder-cgpu upload FILE.py, then: lecoder-cgpu run python FILE.py",
    )


def _typed(content: dict[str, Any] | None, kind: type[T]) -> T | None:
    """A kernel's reply as that document; None without a reply, and for one of another form."""
    try:
        return None if content is None else msgspec.convert(content, kind)
    except msgspec.ValidationError:
        return None


class KernelConnection:
    """One client's channels to one kernel.

    Args:
        server: where the kernel lives.
        kernel_id: which one.
        gone: whether the runtime is known to be gone. Then a dropped socket is not tried again.

    Raises:
        errors.NotFoundError: there is no such kernel. errors.AuthError, errors.ConnectionFailed:
            see `Server.open_channels`.
    """

    def __init__(self, server: Server, kernel_id: str, gone: Callable[[], bool] = lambda: False) -> None:
        self.server = server
        self._gone = gone
        self.kernel_id = kernel_id
        self.session_id = messages.new_id()
        self.responder: Responder | None = None
        self._sent = ("", 0)  # the last request that nothing has come for yet, and its bytes
        self.unreadable = 0  # frames that were no messages
        self.on_send: Callable[[str], None] = lambda run: None  # called with its id before an execution is sent
        self.on_start: Callable[[], None] | None = None  # called when the kernel takes code up
        self._socket: WebSocket = server.open_channels(kernel_id, self.session_id)

    def execute(
        self,
        code: str,
        on_event: Callable[[messages.Event], None],
        *,
        limits: WatchLimits = UNLIMITED,
        on_input: InputSource | None = None,
        recorder: Recorder | None = None,
    ) -> Outcome:
        """Run `code` and report what it does to `on_event` as it happens.

        Args:
            limits: how long the code may take, and how long it is watched.
            on_input: answers `input()`; its answer None is the end of the input. Without `on_input`, `input()` fails.
            recorder: where to read what the socket loses.

        Raises:
            errors.ConnectionFailed: nothing was sent. KeyboardInterrupt: the same; or `Unwatched`, for which see there.
        """
        request = messages.execute_request(
            code, session=self.session_id, allow_stdin=on_input is not None, msg_id=messages.new_run_id()
        )
        outcome = Outcome(Execution(request.msg_id), datetime.now(UTC))
        outcome.execution.on_start = self.on_start
        early: KeyboardInterrupt | None = None
        sent = False
        self.on_send(request.msg_id)
        try:
            with Hold():
                self._send(request)
                sent = True
        except KeyboardInterrupt as interrupt:
            if not sent:
                raise
            early = interrupt
        unreadable = self.unreadable
        with naming(request.msg_id):
            WatchDriver(self, outcome, on_event, limits, on_input, recorder).run(early)
        outcome.execution.unreadable = self.unreadable - unreadable
        return outcome

    def exception_bases(self) -> list[str]:
        """The dotted names in the method-resolution order of the last exception; [] when the kernel does not say."""
        text = self.evaluate(_BASES, BASES_WAIT) or ""
        return [part.strip(" '\"\n") for part in text.strip("[]").split(",") if part.strip()]

    def evaluate(self, expression: str, wait: float) -> str | None:
        """The value of an expression as the kernel prints it. None when the expression failed, or when no answer
        came within `wait` seconds (it may be busy). Other clients see nothing of it."""
        request = messages.execute_request(
            "", session=self.session_id, silent=True, user_expressions={"value": expression}
        )
        execution = Execution(request.msg_id)
        deadline = time.monotonic() + wait
        try:
            self._send(request)
            while not execution.replied and (left := deadline - time.monotonic()) > 0:
                message = self.receive(left)
                if message is not None:
                    execution.receive(message)
        except errors.ConnectionFailed:
            return None
        return execution.plain_value("value")

    def post(self, expression: str) -> None:
        """Have an expression evaluated before what is sent next, without waiting. Other clients see nothing of it.

        Raises:
            errors.ConnectionFailed: the socket is closed.
        """
        expressions = {"value": expression}
        self._send(messages.execute_request("", session=self.session_id, silent=True, user_expressions=expressions))

    def complete(self, code: str, cursor: int, limit: float) -> Completion | None:
        """What could stand at `cursor` (in characters). None when the kernel does not answer within `limit` seconds, or
        its answer does not have the form that the protocol demands.

        Raises:
            errors.ConnectionFailed: the socket is closed.
        """
        content = self._ask("complete_request", {"code": code, "cursor_pos": cursor}, limit)
        return _typed(content, Completion)

    def is_complete(self, code: str, limit: float) -> Completeness | None:
        """Whether code can be run as it is; None as for `complete`.

        Raises:
            errors.ConnectionFailed: the socket is closed.
        """
        content = self._ask("is_complete_request", {"code": code}, limit)
        return _typed(content, Completeness)

    def language_info(self, limit: float) -> dict[str, Any] | None:
        """What the kernel says of its language, as notebooks keep it; None when it does not say so in time."""
        info = (self._ask("kernel_info_request", {}, limit) or {}).get("language_info")
        return info if isinstance(info, dict) and isinstance(info.get("name"), str) else None

    def _ask(self, kind: str, content: dict[str, Any], limit: float) -> dict[str, Any] | None:
        request = messages.request(kind, content, session=self.session_id)
        self._send(request)
        deadline = time.monotonic() + limit
        while (left := deadline - time.monotonic()) > 0:
            message = self.receive(left)
            if message is not None and message.channel == "shell" and message.parent == request.msg_id:
                return message.content
        return None

    def wait_until_back(self) -> None:
        """After a crash, wait until the new kernel's messages reach us (protocol J3), `BACK_WAIT` seconds at most.

        Until the server has renewed its subscription, a run is executed and its output goes nowhere. Some servers also
        skip their own check for a kernel that they last saw busy. So this waits before the next run can begin.
        """
        deadline = time.monotonic() + BACK_WAIT
        with contextlib.suppress(errors.ConnectionFailed):
            asked: set[str] = set()
            while time.monotonic() < deadline:
                request = messages.request("kernel_info_request", {}, session=self.session_id)
                asked.add(request.msg_id)
                self._send(request)
                again = time.monotonic() + BACK_PAUSE
                while (left := again - time.monotonic()) > 0:
                    message = self.receive(left)
                    if message is not None and message.type == "status" and message.parent in asked:
                        return

    def receive(self, timeout: float | None) -> messages.Message | None:
        """The next message, None when none came in time. Frames that are no Jupyter messages are passed over."""
        frame = self._socket.receive(timeout)
        if frame is None:
            return None
        try:
            message = messages.decode(frame, self._socket.subprotocol)
            if message.parent == self._sent[0]:
                self._sent = ("", 0)
            return message
        except ValueError as error:
            self.unreadable += 1
            logs.current().debug("RUN", f"passed over a frame of the kernel's channels: {error}")
            return None

    def send_input(self, value: Any) -> None:
        """Answer an `input_request`; some kernels take more than text."""
        self._send(messages.request("input_reply", {"value": value}, session=self.session_id, channel="stdin"))

    def _send(self, request: messages.Request) -> None:
        frame = request.frame(self._socket.subprotocol)
        if len(frame) > MESSAGE_MOST:
            raise _too_large(len(frame), f"servers take {MESSAGE_MOST >> 20} MiB")
        self._sent = (request.msg_id, len(frame))
        self._socket.send(frame)

    def reconnect(self) -> None:
        """Replace a dropped socket, under the same session id, so that the server replays what it buffered.

        Raises:
            errors.ConnectionFailed: the server did not come back.
            errors.NotFoundError: it came back without this kernel.
            errors.AuthError: it came back and does not accept us any more.
            errors.UsageError: (`CodeTooLong`) it was closed for the size of our request, which did not arrive.
        """
        if self._socket.close_code == TOO_BIG and self._sent[1] > MESSAGE_SMALL:
            raise _too_large(self._sent[1], "this server takes less")
        # A request that is still in the old socket must not reach the kernel after we have said that it was lost.
        self._socket.abandon()
        self._socket = reconnect(
            lambda: self.server.open_channels(self.kernel_id, self.session_id),
            again=lambda error: isinstance(error, errors.ConnectionFailed) and error.retryable and not self._gone(),
            limit=RECONNECT_FOR,
        )

    def close(self) -> None:
        self._socket.close()
