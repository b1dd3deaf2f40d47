"""Calls of the helper over a kernel's socket: how they are sent, again if need be, and how what comes is handed on.

A call may be asked twice without harm. It is asked again when the helper's kernel dies on the way, when no helper was
there, and in smaller messages when the socket was closed for the size of one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from .. import errors
from ..jupyter import messages, pieces
from ..jupyter.message_size import GUESS, LEAST, TOO_BIG, MessageSize
from ..system import waits
from . import answers, bootstrap
from .documents import Update

UPDATE = "lecoder_update"
CALL_LIMIT = 20.0  # seconds for the reply to a call; calls take milliseconds, the network and a cold kernel longer
AFTER_RESTART = (3.0, 5.0, 10.0, 20.0)  # the same while the kernel is being restarted, when requests do get lost
_RESTARTS = ("restarting", "autorestarting")

T = TypeVar("T")


class Channels(Protocol):
    """The part of `net.websocket.WebSocket` that is used here."""

    @property
    def subprotocol(self) -> str | None: ...
    def send(self, frame: str | bytes) -> None: ...
    def receive(self, timeout: float | None = None) -> str | bytes | None: ...
    def close(self) -> None: ...
    @property
    def close_code(self) -> int | None: ...


class Silent(Exception):
    """A call was not answered: the kernel died (the server starts another one under the same id), or is stuck."""


class Calls:
    """One socket to the kernel of the helper. Not for use by several threads, but for `post`.

    Args:
        socket: connected to the channels of the helper's kernel.
        session_id: ours, as given to the server when connecting.
        channel: `control` where the kernel is the session's own, which may be busy (protocol J12).

    Attributes:
        restarts: of the helper's kernel, as far as seen.
        size: how large messages may be.
        reopen: another socket, in place of one that was closed for the size of a message; None where there is no other.
        on_brought: called when the kernel did not have the helper, and has it now: its process may be another one. It
            is told whether this socket has led to the helper before: then it certainly is.
    """

    def __init__(self, socket: Channels, session_id: str, channel: str = "shell") -> None:
        self._socket = socket
        self._channel = channel
        self._session_id = session_id
        self._replies: dict[str, Callable[[messages.Message], None]] = {}
        self._watchers: dict[str, Callable[[Update], None]] = {}
        self._unseen: dict[str, list[Update]] = {}  # of runs that were started and have no watcher yet
        self.restarts = 0
        self.size = MessageSize()
        self.reopen: Callable[[], Channels] | None = None
        self.on_brought: Callable[[bool], None] = lambda again: None
        self._answered = False

    @property
    def close_code(self) -> int | None:
        """The code with which the other side has closed the socket, None while it is open."""
        return self._socket.close_code

    def post(self, method: str, on_reply: Callable[[dict[str, Any]], None], **arguments: Any) -> None:
        """Send a call without waiting, from any thread; `on_reply` gets the answer from within `receive`."""
        request = self._request(bootstrap.call(bootstrap.encode(method, arguments)))

        def take(message: messages.Message) -> None:
            try:
                on_reply(answers.answer_of(message))
            except KeyError:
                on_reply({"ok": False, "error": {"name": "HelperGone", "message": "the helper was restarted"}})

        self._replies[request.msg_id] = take
        self._socket.send(request.frame(self._socket.subprotocol))

    def receive(self, timeout: float | None) -> bool:
        """Take one message from the socket and act on it; False when none came within `timeout` seconds.

        Raises:
            errors.ConnectionFailed: the socket is closed, or (`HelperDead`) the kernel is gone for good.
        """
        try:
            return self._take(timeout)
        except errors.ConnectionFailed:
            if self.close_code == TOO_BIG:
                self.size.take_less()  # for something that was pushed
            raise

    def _take(self, timeout: float | None) -> bool:
        frame = self._socket.receive(timeout)
        if frame is None:
            return False
        try:
            message = messages.decode(frame, self._socket.subprotocol)
        except ValueError:
            return True
        if message.type == UPDATE and message.content.get("v") == 1:  # another version's helper may push here, too
            for update in answers.updates_of(message.content):
                watcher = self._watchers.get(update.run)
                if watcher is not None:
                    watcher(update)
                elif update.run in self._unseen:
                    self._unseen[update.run].append(update)
        elif message.type in ("execute_reply", files_type() + "_reply"):
            take = self._replies.pop(message.parent, None)
            if take is not None:
                take(message)
        elif message.type == "status":
            state = message.content.get("execution_state")
            if state == "dead":
                raise errors.HelperDead(
                    "the kernel of the helper on the runtime died, and the server gave up restarting it",
                    hint="lecoder-cgpu sessions restart",
                )
            self.restarts += state in _RESTARTS
        return True

    def close(self) -> None:
        self._socket.close()

    def _call(self, kind: type[T], method: str, /, bounded: str | None = None, **arguments: Any) -> T:
        """Call, and return the answer as that document. In smaller messages, where some are too large; `bounded` names
        the argument that says how many bytes of content may be in the answer."""
        while True:
            if bounded is not None:
                arguments[bounded] = min(arguments[bounded], self.size.content)
            try:
                return self._call_once(kind, method, **arguments)
            except errors.MessageTooLarge as error:
                self._make_smaller(error)

    def _make_smaller(self, error: errors.MessageTooLarge) -> None:
        """Go on over another socket, with smaller messages.

        Raises:
            errors.MessageTooLarge: that was tried.
        """
        if self.reopen is None or not self.size.take_less(error.size if error.size > LEAST else GUESS):
            error.retryable = False
            raise error
        self._socket.close()
        self._socket = self.reopen()

    def _call_once(self, kind: type[T], method: str, /, **arguments: Any) -> T:
        expression = bootstrap.call(bootstrap.encode(method, arguments))
        code = ""
        limits = iter(AFTER_RESTART)
        limit: float | None = CALL_LIMIT
        while limit is not None:
            try:
                with waits.on("an answer of the helper on the runtime"):
                    answer = answers.answer_of(self._exchange(expression, code, limit))
            except Silent:
                limit = next(limits, None) if self.restarts else None
                continue
            except KeyError:
                if code:
                    break  # it was brought there just now, and is gone again
                # No helper of our version is there, so nothing was done: asking again is asking for the first time.
                code = bootstrap.code()
                continue
            if code:
                self.on_brought(self._answered)
            self._answered = True
            if not answer.get("ok"):
                raise answers.failure(answer)
            return answers.typed(answer, kind)
        raise errors.HelperSilent(
            "the helper on the runtime does not answer",
            hint="repeat the same command; lecoder-cgpu status shows whether the runtime answers",
        )

    def _exchange(self, expression: str, code: str, limit: float) -> messages.Message:
        got: list[messages.Message] = []
        request = self._request(expression, code)
        frames = [request.frame(self._socket.subprotocol)]
        if len(frames[0]) > self.size.most:
            request, frames = self._in_pieces(expression, code)
        self._replies[request.msg_id] = got.append
        restarts = self.restarts
        try:
            for frame in frames:
                self._socket.send(frame)
            deadline = time.monotonic() + limit
            while not got:
                left = deadline - time.monotonic()
                if left <= 0 or self.restarts > restarts:
                    raise Silent
                self._take(left)
        except errors.ConnectionFailed as error:
            if self.close_code == TOO_BIG:
                raise _too_large(max(map(len, frames))) from error
            raise
        finally:
            self._replies.pop(request.msg_id, None)
        return got[0]

    def _in_pieces(self, expression: str, code: str) -> tuple[messages.Request, list[str | bytes]]:
        """A call that is too long for one message, and the frames that bring it."""
        first, last = (
            pieces.cut(text, messages.new_id(), self.size.most) if len(text) > LEAST // 4 else None
            for text in (code, expression)
        )
        before = [piece for cut in (first, last) if cut is not None for piece in cut.expressions]
        request = self._request(
            f"eval({last.whole})" if last is not None else expression,
            f"exec({first.whole})" if first is not None else code,
        )
        requests = [*map(self._request, before), request]
        return request, [item.frame(self._socket.subprotocol) for item in requests]

    def _request(self, expression: str, code: str = "") -> messages.Request:
        return messages.execute_request(
            code,
            session=self._session_id,
            silent=True,
            user_expressions={"r": expression},
            channel=self._channel,
        )


def _too_large(size: int) -> errors.MessageTooLarge:
    error = errors.MessageTooLarge(
        f"this runtime takes no message as long as what commands, jobs and files need: one of {size >> 10} KiB, or the "
        "answer to it",
        hint="code in the kernel runs all the same: lecoder-cgpu run -m kernel CODE",
    )
    error.size = size
    return error


def files_type() -> str:
    """The type of messages about files."""
    return f"{bootstrap.module_name()}_files"
