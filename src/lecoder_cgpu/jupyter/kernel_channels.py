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
from . import messages, pieces
from .execution import Execution
from .message_size import LEAST, TOO_BIG
from .outcome import Outcome
from .server import Server
from .watch_driver import InputSource, Recorder, Responder, WatchDriver
from .watch_limits import UNLIMITED, WatchLimits

RECONNECT_FOR = 75.0  # seconds of trying to get a dropped socket back
HEARD_WITHIN = 10.0  # seconds to wait for a kernel that was started, or died, to be heard
HEARD_PAUSE = 0.2

T = TypeVar("T")

SMALL = 4 << 10  # bytes; a socket is not closed for so little
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


def _too_long(size: int) -> errors.CodeTooLong:
    return errors.CodeTooLong(
        f"the code is too long: the server takes no message of {size >> 10} KiB",
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
        kept: take a socket that was kept open, and leave one for the next command. What such a socket loses is read
            from the recording, so there must be one.

    Attributes:
        takes_pieces: whether code that is too long for one message may go in pieces, for which it must be Python's.

    Raises:
        errors.NotFoundError: there is no such kernel. errors.AuthError, errors.ConnectionFailed:
            see `Server.open_channels`.
    """

    def __init__(
        self, server: Server, kernel_id: str, gone: Callable[[], bool] = lambda: False, *, kept: bool = False
    ) -> None:
        self.server = server
        self._gone = gone
        self.kernel_id = kernel_id
        self.session_id = messages.new_id()
        self.responder: Responder | None = None
        self.takes_pieces = False
        self._sent = ("", 0)  # the last request that nothing has come for yet, and the bytes of its largest message
        self.unreadable = 0  # frames that were no messages
        self._latest: str | bytes | None = None  # what came last
        self.on_send: Callable[[str], None] = lambda run: None  # called with its id before an execution is sent
        self.on_start: Callable[[], None] | None = None  # called when the kernel takes code up
        self._keeps = kept
        self._is_clean = False  # nothing that was asked is without its answer, and nothing odd has happened
        self._unheard = ""  # the run of which a socket that was kept has brought nothing yet
        kept_socket = server.kept_channels(kernel_id) if kept else None
        self._is_kept = kept_socket is not None
        # The server knows the socket by this id: what it sends again, and whom it asks for input.
        self._socket_id = self.session_id if kept_socket is None else kept_socket.session_id
        self._socket: WebSocket = kept_socket or server.open_channels(kernel_id, self._socket_id)

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
        run_id = messages.new_run_id()
        self.on_send(run_id)
        while True:
            try:
                return self._execute(run_id, code, on_event, limits, on_input, recorder)
            except errors.CodeTooLong as error:  # nothing was executed
                if not (self.takes_pieces and self.server.message_size.take_less(self._sent[1])):
                    raise
                logs.current().info("RUN", f"the code goes in smaller pieces: {error.message}", {"run": run_id})
                self._reopen()

    def _execute(
        self,
        run_id: str,
        code: str,
        on_event: Callable[[messages.Event], None],
        limits: WatchLimits,
        on_input: InputSource | None,
        recorder: Recorder | None,
    ) -> Outcome:
        outcome = Outcome(Execution(run_id), datetime.now(UTC))
        outcome.execution.on_start = self.on_start
        early: KeyboardInterrupt | None = None
        sent = self._is_clean = False
        self._unheard = run_id if self._is_kept else ""
        try:
            with Hold():
                self._send_code(run_id, code, allow_stdin=on_input is not None)
                sent = True
        except KeyboardInterrupt as interrupt:
            if not sent:
                raise
            early = interrupt
        unreadable = self.unreadable
        with naming(run_id):
            WatchDriver(self, outcome, on_event, limits, on_input, recorder).run(early)
        outcome.execution.unreadable = self.unreadable - unreadable
        told = outcome.left or outcome.interrupted is not None or outcome.problem is not None or bool(outcome.steps)
        self._is_clean = outcome.execution.replied and outcome.execution.idle and not told
        return outcome

    def exception_bases(self) -> list[str]:
        """The dotted names in the method-resolution order of the last exception; [] when the kernel does not say."""
        text = self.evaluate(_BASES, BASES_WAIT) or ""
        return [part.strip(" '\"\n") for part in text.strip("[]").split(",") if part.strip()]

    def evaluate(self, expression: str, wait: float, channel: str = "shell") -> str | None:
        """The value of an expression as the kernel prints it. None when the expression failed, or when no answer
        came within `wait` seconds (it may be busy; a Python kernel answers on `control` even then, protocol J12). Other
        clients see nothing of it."""
        request = messages.execute_request(
            "", session=self.session_id, silent=True, user_expressions={"value": expression}, channel=channel
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

    def post(self, expression: str) -> int:
        """Have an expression evaluated before what is sent next, without waiting; returns the bytes of the message.
        Other clients see nothing of it.

        Raises:
            errors.ConnectionFailed: the socket is closed.
        """
        expressions = {"value": expression}
        request = messages.execute_request("", session=self.session_id, silent=True, user_expressions=expressions)
        return self._send(request)

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

    def executed(self, limit: float) -> int | None:
        """The number of the cell that the kernel has executed last, 0 before the first; None as for `complete`.

        Raises:
            errors.ConnectionFailed: the socket is closed.
        """
        quiet = {"code": "", "silent": True, "store_history": False, "user_expressions": {}, "allow_stdin": False}
        count = (self._ask("execute_request", quiet, limit) or {}).get("execution_count")
        return count if isinstance(count, int) and count >= 0 else None

    def _ask(self, kind: str, content: dict[str, Any], limit: float) -> dict[str, Any] | None:
        request = messages.request(kind, content, session=self.session_id)
        self._send(request)
        deadline = time.monotonic() + limit
        while (left := deadline - time.monotonic()) > 0:
            message = self.receive(left)
            if message is not None and message.channel == "shell" and message.parent == request.msg_id:
                return message.content
        return None

    def is_idle(self, limit: float) -> bool:
        """See `answers_at_once`."""
        return answers_at_once(self.server, self.kernel_id, self._gone, limit)

    def nudge(self) -> str | None:
        """Make the kernel publish its state, from which the server knows it; returns the id of the request, None if the
        socket is closed."""
        request = messages.request("kernel_info_request", {}, session=self.session_id)
        with contextlib.suppress(errors.ConnectionFailed):
            self._send(request)
            return request.msg_id
        return None

    def wait_until_heard(self) -> None:
        """Wait until the messages of a new kernel reach us (protocol J3), also after a crash; `HEARD_WITHIN` seconds at
        most.

        Until the server has renewed its subscription, a run is executed and its output goes nowhere. Some servers also
        skip their own check for a kernel that they last saw busy. So this waits before the next run can begin.
        """
        deadline = time.monotonic() + HEARD_WITHIN
        with contextlib.suppress(errors.ConnectionFailed):
            asked: set[str] = set()
            while time.monotonic() < deadline:
                request = messages.request("kernel_info_request", {}, session=self.session_id)
                asked.add(request.msg_id)
                self._send(request)
                again = time.monotonic() + HEARD_PAUSE
                while (left := again - time.monotonic()) > 0:
                    message = self.receive(left)
                    if message is not None and message.type == "status" and message.parent in asked:
                        return

    def receive(self, timeout: float | None) -> messages.Message | None:
        """The next message, None when none came in time. Frames that are no Jupyter messages are passed over."""
        frame = self._socket.receive(timeout)
        if frame is None:
            return None
        if frame == self._latest:  # the same once more: each message has an id and a time of its own
            return None
        self._latest = frame
        try:
            message = messages.decode(frame, self._socket.subprotocol)
            if message.parent == self._sent[0]:
                self._sent = ("", 0)
            if self._unheard:
                self._check_beginning(message)
            return message
        except ValueError as error:
            self.unreadable += 1
            logs.current().debug("RUN", f"passed over a frame of the kernel's channels: {error}")
            return None

    def _check_beginning(self, message: messages.Message) -> None:
        """A socket that was kept may have lost a kernel that another client has restarted, and find it again when a run
        has begun. What a run publishes first is that it is busy; else something is missing before it.

        Raises:
            errors.ConnectionFailed: something is.
        """
        if message.channel == "iopub" and message.parent == self._unheard:
            self._unheard = ""
            if message.content.get("execution_state") != "busy":
                raise errors.ConnectionFailed(
                    "a connection that was kept has missed the beginning of the run", hint="repeat the same command"
                )

    def send_input(self, value: Any) -> None:
        """Answer an `input_request`; some kernels take more than text."""
        self._send(messages.request("input_reply", {"value": value}, session=self.session_id, channel="stdin"))

    def _send(self, request: messages.Request, before: int = 0) -> int:
        """Send a request, or raise if it is too long; returns its bytes. `before`: those of a larger message that it
        depends on."""
        frame = request.frame(self._socket.subprotocol)
        if len(frame) > max(self.server.message_size.most, LEAST):
            raise _too_long(len(frame))
        self._sent = (request.msg_id, max(len(frame), before))
        try:
            self._socket.send(frame)
        except errors.ConnectionFailed as error:
            if self._was_too_long():
                raise _too_long(self._sent[1]) from error
            raise
        return len(frame)

    def _send_code(self, run_id: str, code: str, *, allow_stdin: bool) -> None:
        """Send code to be executed, in pieces where it is too long for one message."""

        def request(code: str) -> messages.Request:
            return messages.execute_request(code, session=self.session_id, allow_stdin=allow_stdin, msg_id=run_id)

        most = self.server.message_size.most
        whole = request(code)
        if not self.takes_pieces or len(whole.frame(self._socket.subprotocol)) <= most:
            self._send(whole)
            return
        cut = pieces.cut(code, messages.new_id(), most)
        largest = max(self.post(expression) for expression in cut.expressions)
        self._send(request(cut.line), largest)

    def _was_too_long(self) -> bool:
        """Whether the socket was closed for the size of what was sent last, which then did not arrive."""
        return self._socket.close_code == TOO_BIG and self._sent[1] > SMALL

    def _reopen(self) -> None:
        self._socket.close()
        self._lose_kept()
        self._socket = self.server.open_channels(self.kernel_id, self._socket_id)

    def _lose_kept(self) -> None:
        self._is_kept, self._unheard = False, ""

    def reconnect(self) -> None:
        """Replace a dropped socket, under the same session id, so that the server replays what it buffered.

        Raises:
            errors.ConnectionFailed: the server did not come back.
            errors.NotFoundError: it came back without this kernel.
            errors.AuthError: it came back and does not accept us any more.
            errors.CodeTooLong: it was closed for the size of our request, which did not arrive.
        """
        if self._was_too_long():
            raise _too_long(self._sent[1])
        # A request that is still in the old socket must not reach the kernel after we have said that it was lost.
        self._socket.abandon()
        self._lose_kept()
        self._socket = reconnect(
            lambda: self.server.open_channels(self.kernel_id, self._socket_id),
            again=lambda error: isinstance(error, errors.ConnectionFailed) and error.retryable and not self._gone(),
            limit=RECONNECT_FOR,
        )

    def close(self) -> None:
        if self._keeps and self._is_clean:
            if self._is_kept:
                self._socket.keep()
                return
            self.server.want_kept_channels(self.kernel_id)
        self._socket.close()


def answers_at_once(server: Server, kernel_id: str, gone: Callable[[], bool], limit: float) -> bool:
    """Whether a kernel does within `limit` seconds what it is asked on its shell channel, which it does not while it
    executes code. If so, what was sent before was executed, or never arrived. Other clients see nothing of it.

    Args:
        gone: whether it is known that the runtime is no more.
    """
    try:
        connection = KernelConnection(server, kernel_id, gone)
    except errors.Error:
        return False
    try:
        return connection.language_info(limit) is not None
    except errors.ConnectionFailed:
        return False
    finally:
        connection.close()
