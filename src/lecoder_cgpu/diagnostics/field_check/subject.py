"""The runtime that is looked at: requests to it that keep any answer, and sockets to a kernel of the check's own."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from msgspec import Struct, structs

from ... import errors
from ...jupyter import messages
from ...jupyter.server import Server
from ...net import http
from ...net.addresses import segment, segments
from ...net.websocket import PING_INTERVAL
from ...sessions.session import Session

PATIENCE = 20.0  # seconds for one answer
ATTEMPTS, PAUSE = 3, 2.0  # seconds
NAME = "lecoder-field-check"  # of the check's kernels and files on the runtime
POLLS = 30  # looks at the listing


_FAILURES = (
    (errors.ReadTimeout, "no answer in time"),
    (errors.ConnectionRefused, "the connection is refused"),
    (errors.NameResolution, "its address does not exist"),
    (errors.ConnectionTimeout, "no connection in time"),
)


class Plan(Struct, frozen=True, kw_only=True):
    """How a check goes: the times are in seconds.

    `polls` looks at the listing have `pace` between them, and a runtime that has ended may be listed for `gone_within`.
    With `long`, a socket is left silent for each of `silences`, one after the other, and is dead if it does not answer
    within `pong`; another one has pings with `ping_interval` between them. `ports` allows to try ports of the runtime.
    """

    polls: int = POLLS
    pace: float = 0.7
    gone_within: float = 30.0
    long: bool = False
    silences: tuple[float, ...] = (60.0, 90.0, 150.0, 300.0, 600.0)
    pong: float = 10.0
    ping_interval: float = PING_INTERVAL
    ports: bool = True


class Seen(NamedTuple):
    """What was seen, in our own words; whether the fact says so; what the tool does on such a runtime."""

    text: str
    expected: bool
    will: str


class NotSeen(Exception):
    """A fact could not be looked at, for a reason in our own words."""


class Answer(NamedTuple):
    """What came of a question to a kernel.

    `value` is what the code answered, None without a reply. `replied` are the ids of the requests that were answered.
    `times` is when each message came, by the monotonic clock. `closed` is the code with which the other side has closed
    the socket, None while it is open.
    """

    value: Any
    replied: frozenset[str]
    messages: list[messages.Message]
    times: list[float]
    closed: int | None
    seconds: float


def plain(text: object, most: int = 40) -> str:
    """What the other side says, as a report may have it: letters, digits and harmless signs, nothing that addresses
    anybody or leads anywhere."""
    return re.sub(r"[^A-Za-z0-9 ._+()-]", "?", str(text))[:most] or "nothing"


def why(error: errors.Error) -> str:
    """A failure in our own words. Its message is not used: it holds addresses."""
    if error.http_status is not None:
        return f"HTTP {error.http_status}"
    known = ((kind, text) for kind, text in _FAILURES if isinstance(error, kind))
    return next((text for _, text in known), f"it failed with {plain(error.name)}")


def parsed(data: bytes | str) -> dict[str, Any]:
    """A JSON object from the other side; {} for anything else."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def size(number: int) -> str:
    """A number of bytes for people."""
    return f"{number >> 20} MiB" if number >= 1 << 20 else f"{number >> 10} KiB"


class Subject:
    """The runtime of a session, as a check looks at it.

    Args:
        session: its runtime is there, and its address and token are fresh.
        own: whether the runtime was started for the check, which may then end it.
    """

    def __init__(self, session: Session, plan: Plan, *, own: bool) -> None:
        self.session = session
        self.plan = plan
        self.own = own
        self.endpoint = session.server.endpoint
        self.server = Server(self.endpoint)  # one that renews nothing: the refusals are what is looked at
        self.largest: list[
            int
        ] = []  # bytes of the largest messages that passed, up and down, where larger ones did not
        self.over = threading.Event()
        self._kernel: str | NotSeen | None = None
        self._started: list[str] = []
        self._lock = threading.Lock()

    # --- time ---

    def pause(self, seconds: float) -> None:
        """Wait.

        Raises:
            NotSeen: the check has ended meanwhile.
        """
        if self.over.wait(seconds):
            raise NotSeen("the check was ended")

    # --- requests ---

    def path(self, name: str) -> str:
        """A name in the folder of kernels, as a path below the server's root."""
        return f"{self.endpoint.folder}/{name}".lstrip("/")

    def address(self, name: str) -> str:
        """The same as a part of an address.

        Raises:
            NotSeen: the server has a folder whose name no address can have.
        """
        try:
            return segments(self.path(name))
        except errors.UnexpectedAnswer as error:
            raise NotSeen(why(error)) from error

    def ask(
        self,
        method: str,
        path: str,
        *,
        json_body: Any = None,
        headers: Mapping[str, str] | None = None,
        without: bool = False,
        limit: float = PATIENCE,
    ) -> http.Reply:
        """The answer to a request, whatever its status. It is sent once.

        Args:
            without: send only `headers`, and not those of the endpoint.

        Raises:
            NotSeen: there is none.
        """
        sent = {"Accept": "*/*", **({} if without else self.endpoint.headers), **(headers or {})}
        content = None
        if json_body is not None:
            content, sent["Content-Type"] = json.dumps(json_body).encode(), "application/json"
        try:
            return http.exchange(
                method, self.endpoint.url + path, content=content, headers=sent, timeout=limit, ca=self.endpoint.ca
            )
        except errors.Error as error:
            raise NotSeen(why(error)) from error

    # --- kernels ---

    @property
    def kernel(self) -> str:
        """The id of the check's own kernel, started at the first use.

        Raises:
            NotSeen: the runtime starts none.
        """
        with self._lock:
            if self._kernel is None:
                try:
                    self._kernel = self.start_kernel(NAME)
                except errors.Error as error:
                    self._kernel = self._another(error)
            if isinstance(self._kernel, NotSeen):
                raise self._kernel
            return self._kernel

    def _another(self, error: errors.Error) -> str | NotSeen:
        """A kernel in place of one that was refused. Those of a user's session are left in peace."""
        known = [self.session.record.helper, self.session.record.kernel] if self.own else []
        found = next((item.id for item in known if item is not None), None)
        return found or NotSeen(f"the runtime starts no kernel for this check: {why(error)}")

    def start_kernel(self, name: str) -> str:
        """Start a Python kernel that `clean` removes; returns its id.

        Raises:
            errors.Error: it was refused, or failed. NotSeen: the server has opened something without a kernel.
        """
        opened, ours = self.server.open_session(self.path(name))
        if opened.kernel is None:
            raise NotSeen("the server opened a session without a kernel")
        if ours:
            self._started.append(opened.kernel.id)
        return opened.kernel.id

    def end_kernel(self, kernel: str) -> None:
        """End a kernel that the check has started."""
        if kernel in self._started:
            self._started.remove(kernel)
            with contextlib.suppress(errors.Error):
                self.server.delete_kernel(kernel)

    def clean(self) -> None:
        """Remove what the check has started on the runtime. It may go on: its kernel is started again then."""
        with self._lock:
            self._kernel = None
            while self._started:
                self.end_kernel(self._started[-1])

    def line(self, *, subprotocols: tuple[str, ...] = (), pings: bool = True, kernel: str | None = None) -> Line:
        """A socket to the check's own kernel, or to that one.

        Raises:
            NotSeen: it cannot be opened.
        """
        return Line(self, kernel or self.kernel, subprotocols, pings)

    def compute(self, code: str) -> Any:
        """What code, which sets `answer`, says on the runtime.

        Raises:
            NotSeen: nothing.
        """
        for _ in range(ATTEMPTS):
            with self.line() as line:
                found = line.ask(code)
            if found.value is not None:
                return found.value
            if found.closed is None:
                break
            self.pause(PAUSE)  # it was closed for what another fact has the kernel send
        raise NotSeen("code in the kernel gave no answer")

    def close(self) -> None:
        """Let no thread go on, and close the connections."""
        self.over.set()
        self.server.close()


class Line:
    """A socket to a kernel, on which a question is asked and everything that comes is kept."""

    def __init__(self, subject: Subject, kernel: str, subprotocols: tuple[str, ...], pings: bool) -> None:
        self._session_id = messages.new_id()
        try:
            self.socket = subject.server.open_socket(
                f"api/kernels/{segment(kernel)}/channels",
                query=f"session_id={self._session_id}",
                subprotocols=subprotocols,
                timeout=PATIENCE,
                ping_interval=subject.plan.ping_interval if pings else None,
            )
        except errors.Error as error:
            raise NotSeen(f"no socket to the kernel: {why(error)}") from error

    def request(
        self, code: str = "answer = 1", *, padding: int = 0, buffers: tuple[bytes, ...] = ()
    ) -> messages.Request:
        """A question: code that sets `answer`, in a message that is this many bytes longer, with these binary parts."""
        expression = f"__import__('json').dumps((lambda n: (exec({code!r}, n), n['answer'])[1])({{}}))"
        asked = messages.execute_request(
            "#" + "x" * padding if padding else "",
            session=self._session_id,
            silent=True,
            user_expressions={"value": expression},
        )
        return structs.replace(asked, buffers=buffers) if buffers else asked

    def ask(
        self,
        code: str = "answer = 1",
        *,
        before: messages.Request | None = None,
        until: Callable[[messages.Message], bool] | None = None,
        linger: float = 0.0,
        wait: float = PATIENCE,
        padding: int = 0,
    ) -> Answer:
        """Ask, and take what comes until the reply; then for `linger` seconds without a message, or until one is as
        `until` says.

        Args:
            before: a request that is sent before the question.
        """
        asked = self.request(code, padding=padding)
        began = time.monotonic()
        got: list[messages.Message] = []
        times: list[float] = []
        replied: dict[str, messages.Message] = {}
        found = until is None
        deadline = began + wait
        taken = 0.0
        try:
            for request in filter(None, (before, asked)):
                self.socket.send(request.frame(self.socket.subprotocol))
            while (left := deadline - time.monotonic()) > 0:
                done = asked.msg_id in replied
                if done and found and not linger:
                    break
                message = self._receive(min(left, linger) if done and linger else left)
                if message is None:
                    if done or time.monotonic() >= deadline:
                        break
                    continue
                got.append(message)
                times.append(time.monotonic())
                if message.type == "execute_reply":
                    replied[message.parent] = message
                    taken = taken or time.monotonic() - began
                if until is not None and until(message):
                    found, linger = True, 0.0
        except errors.ConnectionFailed:
            pass  # the close code tells
        value = _value(replied[asked.msg_id].content) if asked.msg_id in replied else None
        closed = self.socket.close_code
        return Answer(value, frozenset(replied), got, times, closed, taken or time.monotonic() - began)

    def _receive(self, timeout: float) -> messages.Message | None:
        frame = self.socket.receive(timeout)
        if frame is None:
            return None
        with contextlib.suppress(ValueError):
            return messages.decode(frame, self.socket.subprotocol)
        return messages.Message()

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _value(content: Mapping[str, Any]) -> Any:
    """What a reply says that the code answered; None if it makes no sense."""
    try:
        return json.loads(ast.literal_eval(content["user_expressions"]["value"]["data"]["text/plain"]))
    except (KeyError, TypeError, ValueError, SyntaxError, RecursionError, MemoryError):
        return None
