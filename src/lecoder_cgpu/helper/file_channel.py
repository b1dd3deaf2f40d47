"""Sends requests about files to the helper: several at once, and again when the connection drops.

Every request may be asked twice without harm, so a dropped connection costs nothing but the repetition of the requests
that had no answer. Answers come in the order of the requests.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

import msgspec

from .. import errors
from ..guest import trees
from ..net.retry import persist, reconnect
from .client import Helper
from .documents import Hello
from .file_documents import Failed
from .file_errors import THERE, error_of

WINDOW = 4  # requests that are sent without waiting for an answer
ANSWER_LIMIT = 60.0  # seconds for the next answer: a part of some megabytes over a slow line
LARGEST = 1 << 20  # bytes of content in one message that is text
SMALLEST = 8 << 20  # bytes of a message; parts of files may be that long
PAUSES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 12.0)  # seconds before a lost connection is made again, while nothing moves
NOT_TAKEN, TOO_BIG = (1002, 1003), 1009  # close codes: for a binary frame, for a large one
GREETINGS = 3  # attempts to get a first answer over connections that break off
PATIENCE = 60.0  # seconds without any progress for which a dropped connection is tried again

Content = bytes | memoryview
Connect = Callable[[errors.ConnectionFailed | None], Helper]
T = TypeVar("T")


class Answer(NamedTuple):
    """An answer as it came: its JSON, and the bytes that came along."""

    header: dict[str, Any]
    content: memoryview


class Request:
    """One request.

    Args:
        op: the operation, a method of `guest/files.py`.
        arguments: of that method, as JSON values.
        data: content that goes along.
        done: called with the answer.
    """

    __slots__ = ("arguments", "data", "done", "op")

    def __init__(
        self,
        op: str,
        arguments: dict[str, Any],
        data: Content | None = None,
        done: Callable[[Answer], None] = lambda answer: None,
    ) -> None:
        self.op = op
        self.arguments = arguments
        self.data = data
        self.done = done

    @property
    def header(self) -> bytes:
        return json.dumps({"op": self.op, **self.arguments}).encode()


class FileChannel:
    """The connection to the helper over which requests about files go.

    Args:
        connect: opens a connection to the helper; gets the reason when an earlier one was lost.
        patience: seconds for which a lost connection is tried again.

    Attributes:
        hello: who answered last. reconnected: how often the connection was made again.
    """

    def __init__(self, connect: Connect, *, patience: float = PATIENCE) -> None:
        self._connect = connect
        self._patience = patience
        self._helper: Helper | None = None
        self._restarts = 0
        self._as_text = False  # because a binary message was too large, or had no answer
        self.hello: Hello | None = None
        self.reconnected = 0

    def open(self) -> Helper:
        """Connect, and check that the helper is there, and how files reach it.

        Raises:
            errors.ConnectionFailed: the connection failed.
        """
        return persist(self._greet_anew, again=self._broke_off, attempts=GREETINGS)

    def _greet_anew(self) -> Helper:
        self._helper = None
        self._helper = self._connect(None)
        return self._greet(self._helper)

    def _broke_off(self, error: errors.Error) -> bool:
        """Whether a connection was there, and was closed before the first answer: for a binary frame, perhaps."""
        helper = self._helper
        if helper is None or helper.close_code is None or not isinstance(error, errors.ConnectionFailed):
            return False
        helper.close()
        return error.retryable

    def _greet(self, helper: Helper) -> Helper:
        self._restarts = helper.restarts
        self.hello = helper.hello()
        if helper.binary is None and helper.sends_binary:
            self._try_binary(helper)
        return helper

    def _try_binary(self, helper: Helper) -> None:
        """Find out whether binary frames pass (protocol C35). A kernel answers in order, so when what was asked behind
        one has its answer, the one is lost.

        Raises:
            errors.ConnectionFailed: the connection was lost, maybe for that.
        """
        assert self.hello is not None
        got: list[list[Any]] = []
        try:
            if self.hello.takes_files:
                helper.post_files(Request("stat", {"path": "."}).header, None, got.append)
                helper.hello()
        except errors.ConnectionFailed:
            if helper.close_code in NOT_TAKEN:
                self._note_binary(helper, False)
            raise
        if helper.restarts == self._restarts:
            self._note_binary(helper, bool(got and got[0]))

    @staticmethod
    def _note_binary(helper: Helper, passes: bool) -> None:
        helper.binary = passes
        helper.on_binary(passes)

    def close(self) -> None:
        if self._helper is not None:
            self._helper.close()

    def ask(self, kind: type[T], op: str, data: Content | None = None, **arguments: Any) -> T:
        """Send one request and return its answer.

        Raises:
            errors.Error: the runtime refused it, or the connection is lost for good.
        """
        return typed(self.ask_content(op, data, **arguments), kind)

    def ask_content(self, op: str, data: Content | None = None, **arguments: Any) -> Answer:
        """The same, with the bytes that come along."""
        got: list[Answer] = []
        self.exchange([Request(op, arguments, data, got.append)])
        return got[0]

    def exchange(self, requests: Iterable[Request]) -> None:
        """Send requests without waiting for each answer.

        Raises:
            errors.Error: as for `ask`. Requests behind the one that failed may have been served.
        """
        coming = iter(requests)
        waiting: deque[Request] = deque()  # sent, or to be sent again
        more = True
        deadline: float | None = None
        pauses = iter(PAUSES)
        while more or waiting:
            try:
                answers: deque[list[Any]] = deque()
                for request in waiting:
                    self._post(request, answers)
                while more or waiting:
                    while more and len(waiting) < WINDOW:
                        fresh = next(coming, None)
                        if fresh is None:
                            more = False
                            break
                        waiting.append(fresh)
                        self._post(fresh, answers)
                    if not waiting:
                        break
                    self._await(answers)
                    deadline, pauses = None, iter(PAUSES)
                    waiting[0].done(_decode(answers.popleft()))
                    waiting.popleft()
            except errors.ConnectionFailed as error:
                if not error.retryable and not isinstance(error, errors.HelperDead):
                    raise
                if isinstance(error, errors.HelperSilent) and not self._other_way():
                    raise  # it can be reached, and does not answer: that may go on for ever
                if self._takes_less():
                    deadline = None
                elif deadline is None:
                    deadline = time.monotonic() + self._patience
                elif time.monotonic() > deadline:
                    raise _lost(error) from error
                time.sleep(next(pauses, PAUSES[-1]))
                self._reconnect(error, deadline or time.monotonic() + self._patience)

    def _other_way(self) -> bool:
        """Go on with text, after binary messages had no answer; False where that is how they go."""
        if self._as_text or self._helper is None or self._helper.binary is False:
            return False
        self._as_text = True
        return True

    def _takes_less(self) -> bool:
        """Whether the socket was closed for the size of a binary message, so that text is to be tried, which comes in
        pieces of any size."""
        return self._helper is not None and self._helper.close_code == TOO_BIG and self._other_way()

    def _post(self, request: Request, answers: deque[list[Any]]) -> None:
        helper = self._helper or self.open()
        if helper.binary is False or self._as_text or helper.size.most < SMALLEST:
            answers.append(helper.ask_files(request.header, request.data, LARGEST))
        else:
            helper.post_files(request.header, request.data, answers.append)

    def _await(self, answers: deque[list[Any]]) -> None:
        assert self._helper is not None
        deadline = time.monotonic() + ANSWER_LIMIT
        while not answers:
            left = deadline - time.monotonic()
            if left <= 0:
                raise errors.HelperSilent("the helper on the runtime does not answer")
            self._helper.receive(left)
            if self._helper.restarts > self._restarts:
                raise errors.ConnectionFailed("the helper on the runtime was restarted", name="HelperRestarted")

    def _reconnect(self, cause: errors.ConnectionFailed, deadline: float) -> None:
        latest = cause

        def greet() -> None:
            self.close()
            self._helper = self._connect(latest)
            self._greet(self._helper)

        def again(error: errors.Error) -> bool:
            nonlocal latest
            if not isinstance(error, errors.ConnectionFailed) or not error.retryable:
                return False
            latest = error
            return True

        try:
            reconnect(greet, again=again, limit=max(deadline - time.monotonic(), 0.001))
        except errors.ConnectionFailed as error:
            raise _lost(error) from cause
        self.reconnected += 1


def _lost(error: errors.Error) -> errors.Error:
    return errors.ConnectionFailed(
        f"the connection was lost and could not be made again: {error.message}",
        name="ContactLost",
        hint="repeat the same command: it goes on where this one ended",
    )


def typed(answer: Answer, kind: type[T]) -> T:
    """The document of an answer.

    Raises:
        errors.ConnectionFailed: (`UnexpectedAnswer`) it is something else.
    """
    try:
        return msgspec.convert(answer.header, kind)
    except ValueError as error:  # msgspec's own, and that of a lone surrogate where it cannot be
        raise unexpected(str(error)) from error


def _decode(buffers: list[Any]) -> Answer:
    if not buffers:
        raise errors.NoFileService("the helper's answer has lost its content on the way")
    try:
        # Not by msgspec: names that are no UTF-8 hold surrogates, which it refuses.
        header = json.loads(bytes(buffers[0]))
    except (ValueError, RecursionError) as error:
        raise unexpected(str(error)) from error
    answer = Answer(header, memoryview(buffers[1]) if len(buffers) > 1 else memoryview(b""))
    problem = typed(answer, Failed).error
    if problem is not None:
        raise error_of(trees.Problem(problem.name, problem.message), THERE)
    return answer


def unexpected(problem: str) -> errors.ConnectionFailed:
    """The error for an answer that the helper cannot have meant."""
    return errors.UnexpectedAnswer(
        f"the helper on the runtime answered something unexpected about files: {problem}",
        retryable=False,
        hint="repeat the same command; lecoder-cgpu debug tail shows the requests",
    )
