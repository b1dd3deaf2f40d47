"""Requests about files to the helper, with several on the way at once, repeated when the connection drops.

Every request may be asked twice without harm, so a drop costs nothing but the repetition of those that had no answer.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from .. import errors
from ..guest import trees
from ..jupyter import messages
from .client import Helper
from .documents import Hello

WINDOW = 4  # requests on the way at once
ANSWER_LIMIT = 60.0  # seconds for the next answer: a part of some megabytes over a slow line
PATIENCE = 60.0  # seconds without any progress for which a dropped connection is tried again

Answer = tuple[dict[str, Any], memoryview]
Connect = Callable[[errors.ConnectionFailed | None], Helper]


class Request:
    """One request: an operation of `helper/files.py`, its arguments, and content that goes along."""

    __slots__ = ("arguments", "data", "op", "tag")

    def __init__(self, op: str, data: bytes | memoryview | None = None, tag: Any = None, **arguments: Any) -> None:
        self.op = op
        self.data = data
        self.tag = tag
        self.arguments = arguments

    @property
    def header(self) -> bytes:
        return json.dumps({"op": self.op, **self.arguments}).encode()


class FileService:
    """The files of a runtime, through its helper.

    Args:
        connect: opens a connection to the helper; told why, when an earlier one was lost.
        patience: seconds for which a lost connection is tried again.
    """

    verifies = keeps_times = True

    def __init__(self, connect: Connect, *, patience: float = PATIENCE) -> None:
        self._connect = connect
        self._patience = patience
        self._helper: Helper | None = None
        self._restarts = 0
        self.hello: Hello | None = None
        self.reconnected = 0

    def open(self) -> Hello:
        """Connect, and see that the helper is there and takes files.

        Raises:
            errors.ConnectionFailed: (`NoFileService`) its kernel cannot; or as connecting has it.
        """
        self._helper = self._connect(None)
        return self._greet()

    def _greet(self) -> Hello:
        assert self._helper is not None
        self._restarts = self._helper.restarts
        self.hello = self._helper.hello()
        if not self.hello.takes_files:
            raise errors.NoFileService(
                "the kernel of the helper cannot pass on files",
            )
        return self.hello

    def close(self) -> None:
        if self._helper is not None:
            self._helper.close()

    def call(self, op: str, data: bytes | memoryview | None = None, **arguments: Any) -> Answer:
        """Ask once and return the answer.

        Raises:
            errors.Error: what the runtime says about it, or the connection is lost for good.
        """
        got: list[Answer] = []
        self.stream([Request(op, data, **arguments)], lambda request, answer: got.append(answer))
        return got[0]

    def stream(self, requests: Iterable[Request], on_answer: Callable[[Request, Answer], None]) -> None:
        """Ask one after the other without waiting for each; the answers come in the same order.

        Raises:
            errors.Error: as `call` has it; requests behind the one that failed may have been served.
        """
        coming = iter(requests)
        waiting: deque[Request] = deque()  # sent, or to be sent again
        more = True
        deadline: float | None = None
        while more or waiting:
            try:
                answers: deque[list[Any]] = deque()
                for request in waiting:
                    self._post(request, answers)
                while more or waiting:
                    while more and len(waiting) < WINDOW:
                        request_ = next(coming, None)
                        if request_ is None:
                            more = False
                            break
                        waiting.append(request_)
                        self._post(request_, answers)
                    if not waiting:
                        break
                    self._await(answers)
                    deadline = None
                    on_answer(waiting[0], _decode(answers.popleft()))
                    waiting.popleft()
            except errors.ConnectionFailed as error:
                if not error.retryable and not isinstance(error, errors.HelperDead):
                    raise
                deadline = deadline or time.monotonic() + self._patience
                self._reconnect(error, deadline)

    def _post(self, request: Request, answers: deque[list[Any]]) -> None:
        if self._helper is None:
            self.open()
        assert self._helper is not None
        self._helper.post_files(request.header, request.data, answers.append)

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
        pause = 0.1
        while True:
            self.close()
            try:
                self._helper = self._connect(cause)
                self._greet()
            except errors.ConnectionFailed as error:
                if time.monotonic() > deadline or not error.retryable:
                    raise errors.ConnectionFailed(
                        f"the connection was lost and could not be made again: {error.message}",
                        name="ContactLost",
                        hint="repeat the same command: it goes on where this one ended",
                    ) from cause
                cause = error
                time.sleep(pause)
                pause = min(pause * 2, 5.0)
            else:
                self.reconnected += 1
                return

    # --- what takes more than one request ---

    def pages(self, op: str, **arguments: Any) -> list[list[Any]]:
        """All lines of a listing that comes in pages."""
        for attempt in range(3):
            token = messages.new_id()
            lines: list[list[Any]] = []
            number = 0
            try:
                while True:
                    answer, _ = self.call(op, token=token, number=number, **arguments)
                    lines += answer["entries"]
                    if answer["end"]:
                        return lines
                    number += 1
            except errors.PageLost:
                if attempt == 2:
                    raise
        raise AssertionError("the loop returns or raises")

    def task(self, op: str, on_progress: Callable[[int], None] | None = None, **arguments: Any) -> Any:
        """The result of work that the runtime does in the background."""
        key = arguments.pop("task", None) or messages.new_id()
        pause = 0.002
        while True:
            answer, _ = self.call(op, task=key, **arguments)
            if answer["ended"]:
                return answer["result"]
            if on_progress is not None:
                on_progress(answer["done"])
            time.sleep(pause)
            pause = min(pause * 1.5, 0.25)


def _decode(buffers: list[Any]) -> Answer:
    if not buffers:
        raise errors.NoFileService(
            "the helper's answer has lost its content on the way",
        )
    header: dict[str, Any] = json.loads(bytes(buffers[0]))
    if "error" in header:
        raise error_of(trees.Problem(header["error"]["name"], header["error"]["message"]), "on the runtime")
    return header, memoryview(buffers[1]) if len(buffers) > 1 else memoryview(b"")


# Our class for each name of a `trees.Problem`; a name that is not here is a transfer that failed.
KINDS: dict[str, type[errors.Error]] = {
    "FileNotFound": errors.NotFoundError,
    "IsADirectory": errors.UsageError,
    "NotADirectory": errors.UsageError,
    "FileExists": errors.UsageError,
    "UnsafeName": errors.UsageError,
    "NameTooLong": errors.UsageError,
    "FolderNotEmpty": errors.UsageError,
    "NotAFile": errors.UsageError,
    "VerifyFailed": errors.VerifyFailed,
    "PageLost": errors.PageLost,
    "HelperFailed": errors.InternalError,
    "NoSuchCall": errors.InternalError,
}
_HINTS = {
    "PermissionDenied": "choose another place, or change the permissions",
    "FileChanged": "repeat the same command when nothing writes to the file",
    "VerifyFailed": "repeat the same command",
    "FolderNotEmpty": "add --recursive",
}


def error_of(problem: trees.Problem, where: str) -> errors.Error:
    """Our error for a problem with a file; `where` says on which side."""
    kind = KINDS.get(problem.name, errors.TransferError)
    there = where == "on the runtime"
    listing = "lecoder-cgpu ls FOLDER" if there else "ls FOLDER"
    hints = {
        **_HINTS,
        "DiskFull": f"{'lecoder-cgpu rm' if there else 'rm'} PATH makes room; then repeat the same command",
        "FileNotFound": f"see what is there: {listing}",
    }
    hint = hints.get(problem.name)
    if hint is None and kind is errors.UsageError:
        hint = f"give another path; see what is there: {listing}"
    return kind(f"{problem.message} ({where})", name=problem.name, hint=hint)
