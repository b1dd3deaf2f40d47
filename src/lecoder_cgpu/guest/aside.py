"""Passes requests about files on to a process of low priority (`aside_server`).

Results that come home while work goes on are listed, hashed and packed there, so that the work keeps its processors and
its disk. The helper passes such requests on and never waits for long: a client asks again until the answer is there.

Runs on the runtime as a part of the helper (Python 3.8 and newer, standard library only). Between the two go frames:
a request is its length (4 bytes, big endian) and JSON, an answer is two lengths (the JSON's, the content's + 1 or 0),
JSON and content.
"""

from __future__ import annotations

import contextlib
import json
import queue
import struct
import subprocess
import threading
from typing import IO, TYPE_CHECKING, Any

from .processes import unhurried

if TYPE_CHECKING:
    from collections.abc import Sequence

    Answer = tuple[dict[str, Any], bytes | None]

WAIT = 0.03  # seconds that the helper waits for an answer before it says that there is none yet
IDLE = 60.0  # seconds without a request after which the process ends
KEPT = 6  # orders; the oldest is forgotten beyond
REFUSED = {"refused": True}  # the client does without

REQUEST, ANSWER = struct.Struct(">I"), struct.Struct(">II")


class Order:
    """One request on its way."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request
        self.answer: Answer | None = None
        self.answered = threading.Event()


class Aside:
    """The helper's end.

    Args:
        command: starts the process. cwd: where relative paths start.
    """

    def __init__(self, command: Sequence[str], cwd: str) -> None:
        self._command = command
        self._cwd = cwd
        self._orders: dict[str, Order] = {}
        self._queue: queue.Queue[Order] = queue.Queue()
        self._lock = threading.Lock()
        self._works = False  # a thread takes orders
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, key: str, request: dict[str, Any]) -> Answer:
        """Answer a request, or tell that there is no answer yet: the same key is to be asked for again then."""
        with self._lock:
            order = self._orders.get(key)
            if order is None:
                order = self._orders[key] = Order(request)
                while len(self._orders) > KEPT:
                    del self._orders[next(iter(self._orders))]
                self._queue.put(order)
                if not self._works:
                    self._works = True
                    threading.Thread(target=self._serve, daemon=True).start()
        order.answered.wait(WAIT)
        return order.answer or ({"waiting": True}, None)

    def _serve(self) -> None:
        while True:
            try:
                order = self._queue.get(timeout=IDLE)
            except queue.Empty:
                with self._lock:
                    if self._queue.empty():
                        self._works = False
                        self._end()
                        return
                continue
            try:
                order.answer = self._passed_on(order.request)
            except (OSError, ValueError):  # it could not be started, or was killed
                self._end()
                order.answer = dict(REFUSED), None
            order.answered.set()

    def _passed_on(self, request: dict[str, Any]) -> Answer:
        if self._process is None:
            self._process = subprocess.Popen(
                [*unhurried(), *self._command],
                cwd=self._cwd,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                creationflags=getattr(subprocess, "IDLE_PRIORITY_CLASS", 0),
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        encoded = json.dumps(request).encode()
        self._process.stdin.write(REQUEST.pack(len(encoded)) + encoded)
        self._process.stdin.flush()
        header, content = ANSWER.unpack(_exactly(self._process.stdout, ANSWER.size))
        answer = json.loads(_exactly(self._process.stdout, header))
        return answer, _exactly(self._process.stdout, content - 1) if content else None

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(OSError):
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]


def _exactly(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise ValueError("it ended in the middle of an answer")
    return content
