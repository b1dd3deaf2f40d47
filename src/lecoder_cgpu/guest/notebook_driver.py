"""Runs cells one after the other in a kernel on this machine, without any client.

Executed on the runtime as a process run (Python 3.8 and newer, standard library and the pyzmq that ipykernel brings).
It is a client of the kernel like any other, over the kernel's own sockets, so it stops where it should, and other
clients' code is neither aborted nor delayed by more than one cell.

What it is given is one line of JSON on stdin: `program` (this text), `connection` (the kernel's connection file),
`folder` (of the run), `run`, `keepGoing`, `cellTimeout` (seconds, or null), `cells` (`number`, `label`, `code`,
`allowed`: may raise anything, `allowedNames`: exceptions that it may raise, `stops`: its failure ends the notebook),
`lastWords` (the text of that module), and whatever else its client wants to find again. `enter` and `leave` are
expressions that the kernel evaluates before the first cell and after the last one; the value of `enter` is `'entered'`,
or why nothing can be run. All but the program, the module and these two, which may hold secrets, becomes the first line
of `messages` in the folder. Behind it come, one JSON object a line, `{"begin": N, "at": T}`, `{"cell": N, "message":
M}`, `{"end": N, "how": H, "at": T}`, and `{"dropped": BYTES}` when there was more than a file may hold. The text for
people goes to stdout and stderr, and the exit status is that of the first cell that failed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterable
from typing import Any

LIMIT = 1 << 30  # bytes of `messages`
POLL = 200  # milliseconds between looks at signals that came
GREETING_LIMIT = 1000  # milliseconds for the answer that shows that the subscription works
GREETING_PAUSE = 50
QUIET_ROUNDS = 20
AFTER_DEATH = 1.0  # seconds in which the last words of a kernel that died arrive
BASES_LIMIT = 2.0  # seconds for the class hierarchy of an exception
ENTER_LIMIT = 600.0  # seconds for the folder and the variables of the notebook; the kernel may be busy
LEAVE_LIMIT = 10.0
INTERRUPT_LIMIT = 10.0  # seconds that a cell has to end after the interrupt at its limit
TIME_LIMIT = 75  # the exit status of work that reached its limit
QUIET = 0.1  # seconds without output after `idle`, from a kernel that may send some then
QUIET_LATER = 0.5  # the same once it has
LATE_WITHIN = 10.0  # seconds after which nothing more of it is waited for
SIGN_WITHIN = 3.0  # the same if nothing comes at all: it may execute other code already
MAX_BATCH = 5000
_DELIMITER = b"<IDS|MSG>"
_NUMBERED = re.compile(r"_[0-9]{1,15}\Z")
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_BASES = "[c.__module__ + '.' + c.__qualname__ for c in type(__import__('sys').last_value).__mro__]"


class Kernel:
    """The sockets of one kernel."""

    def __init__(self, connection: dict[str, Any]) -> None:
        import zmq

        self._zmq = zmq
        self._key = str(connection.get("key", "")).encode()
        self._session = os.urandom(16).hex()
        context = self._context = zmq.Context()
        separator = "-" if connection["transport"] == "ipc" else ":"
        self.sockets = {}
        kinds = (("iopub", zmq.SUB), ("shell", zmq.DEALER), ("control", zmq.DEALER))
        for name, kind in kinds:
            socket = self.sockets[name] = context.socket(kind)
            socket.setsockopt(zmq.RCVHWM, 0)
            socket.setsockopt(zmq.LINGER, 1000)
        self.sockets["iopub"].setsockopt(zmq.SUBSCRIBE, b"")
        self._monitor = self.sockets["iopub"].get_monitor_socket(zmq.EVENT_DISCONNECTED)
        for name, socket in self.sockets.items():
            port = connection[name + "_port"]
            socket.connect(connection["transport"] + "://" + connection["ip"] + separator + str(port))
        self._poller = zmq.Poller()
        for socket in (self.sockets["iopub"], self.sockets["shell"], self._monitor):
            self._poller.register(socket, zmq.POLLIN)
        self.died = False
        self.passed_over = 0  # messages that made no sense

    def greet(self) -> None:
        """Return when what the kernel publishes arrives here: a subscription is made in the background."""
        control, iopub = self.sockets["control"], self.sockets["iopub"]
        rounds, asked = 0, False
        while True:
            self.send("control", "kernel_info_request", {}, os.urandom(16).hex())
            if control.poll(GREETING_LIMIT):
                control.recv_multipart()
                rounds += 1
            else:
                rounds += QUIET_ROUNDS
            if iopub.poll(GREETING_PAUSE):
                return
            if not asked and rounds >= QUIET_ROUNDS:
                asked = True  # some kernels publish nothing of requests on the control channel (protocol J36)
                self.send("shell", "kernel_info_request", {}, os.urandom(16).hex())

    def send(self, channel: str, kind: str, content: dict[str, Any], identity: str) -> None:
        header = {
            "msg_id": identity,
            "msg_type": kind,
            "username": "lecoder-cgpu",
            "session": self._session,
            "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "version": "5.3",
        }
        parts = [json.dumps(header).encode(), b"{}", b"{}", json.dumps(content).encode()]
        signature = hmac.new(self._key, b"".join(parts), hashlib.sha256).hexdigest() if self._key else ""
        self.sockets[channel].send_multipart([_DELIMITER, signature.encode(), *parts])

    def execute(self, code: str, identity: str, expressions: dict[str, str] | None = None) -> None:
        silent = expressions is not None
        content = {
            "code": code,
            "silent": silent,
            "store_history": not silent,
            "user_expressions": expressions or {},
            "allow_stdin": False,
            "stop_on_error": False,
        }
        self.send("shell", "execute_request", content, identity)

    def receive(self) -> list[tuple[str, list[bytes]]]:
        """What has come, as pairs of a channel and the four parts of a message; all of it before any is dealt with, for
        a queue that overflows on the kernel's side drops without a word."""
        ready = dict(self._poller.poll(POLL))
        if self._monitor in ready:
            self._monitor.recv_multipart()
            self.died = True
        found: list[tuple[str, list[bytes]]] = []
        for channel in ("iopub", "shell"):
            while len(found) < MAX_BATCH:
                try:
                    parts = self.sockets[channel].recv_multipart(self._zmq.NOBLOCK)
                except self._zmq.Again:
                    break
                start = parts.index(_DELIMITER) + 2 if _DELIMITER in parts else len(parts)
                if len(parts) >= start + 4:
                    found.append((channel, [part.replace(b"\n", b" ") or b"null" for part in parts[start : start + 4]]))
                else:
                    self.passed_over += 1
        return found

    def interrupt(self) -> None:
        self.send("control", "interrupt_request", {}, os.urandom(16).hex())

    def close(self) -> None:
        self._context.destroy(linger=1000)


class Writer:
    """The file of messages."""

    def __init__(self, folder: str) -> None:
        self._file = open(os.path.join(folder, "messages"), "wb", buffering=1 << 16)  # noqa: SIM115 - ends with us
        self._size = 0
        self.dropped = 0

    def add(self, line: bytes, must: bool = True) -> None:
        if self._size + len(line) > LIMIT and not must:
            self.dropped += len(line)
            return
        self._file.write(line + b"\n")
        self._size += len(line) + 1

    def note(self, **fields: Any) -> None:
        self.add(json.dumps(fields).encode())
        self.flush()

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class CellMessages:
    """What the messages of one cell have told so far. Code can publish anything, so the fields may have any type."""

    def __init__(self) -> None:
        self.replied = self.idle = self._begun = False
        self.counted = False  # the kernel numbers its messages, so that what is missing is noticed
        self.raised: dict[str, Any] | None = None  # by the reply
        self._shown: dict[str, Any] | None = None  # the last exception that was shown
        self.arrived = {"stdout": 0, "stderr": 0}  # bytes

    def take(self, channel: str, kind: str, content: dict[str, Any]) -> None:
        if kind == "execute_reply" and channel == "shell":
            self._take_reply(content)
        elif kind == "status":
            self.idle = self.idle or content.get("execution_state") == "idle"
        elif kind == "execute_input":
            self._begun = True
        elif kind == "error":
            self._shown = content
        elif kind == "stream" and str(content.get("name")) in self.arrived:
            self.arrived[content["name"]] += len(str(content.get("text", "")).encode("utf-8", "surrogatepass"))

    def _take_reply(self, reply: dict[str, Any]) -> None:
        """It decides, and not what was shown (protocol J34)."""
        self.replied = True
        status = reply.get("status")
        if status in ("aborted", "abort") and self._begun:  # so do some kernels say that they were interrupted
            self.raised = {"ename": "KeyboardInterrupt", "evalue": ""}
        elif status in ("aborted", "abort"):
            self.raised, self.idle = {"ename": "Aborted", "evalue": "code queued before it failed"}, True
        elif status != "ok":
            self.raised = self._shown if self._shown and reply.get("ename") in (None, "", "NoneType") else reply


class Driver:
    """Runs the cells; `signals` holds the numbers of those that came."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self._enter, self._leave = spec.pop("enter", None), spec.pop("leave", None)
        self._last_words: dict[str, Any] = {"__name__": "last_words"}
        exec(spec.pop("lastWords"), self._last_words)  # noqa: S102 - our own module
        kernel = os.path.basename(spec["connection"])[len("kernel-") : -len(".json")]
        self._printed = os.path.join(os.path.dirname(os.path.dirname(spec["folder"])), "printed-" + kernel)
        self.signals: list[int] = []
        self.writer = Writer(spec["folder"])
        self.writer.add(json.dumps(spec).encode())
        self.writer.flush()
        with open(spec["connection"], encoding="utf-8") as file:
            self.kernel = Kernel(json.load(file))
        self._interrupts = 0

    def run(self) -> int:
        """Run everything and return the exit status."""
        self.kernel.greet()
        if self._enter is not None:
            answer = self._evaluate(self._enter, ENTER_LIMIT).strip("'\"")
            if answer != "entered" and not self.signals:
                say(sys.stderr, "the kernel could not be prepared: %s\n" % (answer or "it does not answer"))
                return 1
        try:
            return self._run_cells()
        finally:
            if self._leave is not None:
                self._evaluate(self._leave, LEAVE_LIMIT)

    def _run_cells(self) -> int:
        status = 0
        cells = self.spec["cells"]
        for position, cell in enumerate(cells, 1):
            if self.signals:
                break
            say(sys.stderr, f"[{position}/{len(cells)}] {cell['label']}\n")
            how, failed, name = self._cell(cell)
            allowed = cell["allowed"] or name in cell.get("allowedNames", ())
            if failed is not None and not (allowed and how == "ended"):
                status = status or failed
            if how != "ended":
                break
            keep_going = self.spec["keepGoing"] and not cell.get("stops")
            if failed is not None and not (allowed or (keep_going and failed)):
                break
        if self.writer.dropped or self.kernel.passed_over:
            self.writer.note(dropped=self.writer.dropped + self.kernel.passed_over)
        return 128 + self.signals[0] if self.signals else status

    def _cell(self, cell: dict[str, Any]) -> tuple[str, int | None, str]:
        """How a cell's execution ended, the exit status of its failure (None for a cell that went well), and its
        exception's name."""
        number = cell["number"]
        identity = f"{self.spec['run']}-{number}"
        self.writer.note(begin=number, at=time.time())
        self.kernel.execute(cell["code"], identity)
        told = CellMessages()
        gone, held = 0.0, b""
        limit = self.spec.get("cellTimeout")
        deadline = None if limit is None else time.monotonic() + limit
        late = False
        while not (told.replied and told.idle):
            for channel, parts in self.kernel.receive():
                if load(parts[1]).get("msg_id") == identity:
                    self._take(number, told, channel, parts)
            self.writer.flush()
            flush()
            if self.kernel.died:
                if not gone:
                    gone, held = time.monotonic(), self._last_words["read"](self._printed)
                if time.monotonic() - gone > AFTER_DEATH:
                    self._add_lost(number, identity, held, told.arrived)
                    say(sys.stderr, "the kernel died or was restarted\n")
                    self.writer.note(end=number, how="died", at=time.time())
                    return "died", 1, ""
            if len(self.signals) > 1:
                self.writer.note(end=number, how="abandoned", at=time.time())
                return "abandoned", 1, ""
            if deadline is not None and time.monotonic() >= deadline:
                if late:
                    say(sys.stderr, "the cell did not react to the interrupt at its time limit\n")
                    self.writer.note(end=number, how="timeout", at=time.time())
                    return "timeout", TIME_LIMIT, ""
                late, deadline = True, time.monotonic() + INTERRUPT_LIMIT
                self.kernel.interrupt()
            if self.signals and not self._interrupts:
                self._interrupts = 1
                self.kernel.interrupt()
        self._await_late(number, identity, told)
        raised = told.raised
        bases = self._bases() if raised else []
        how = "interrupted" if self.signals else "timeout" if late and raised else "ended"
        self.writer.note(end=number, how=how, at=time.time(), bases=bases)
        if raised is None:
            return how, None, ""
        name, message = str(raised.get("ename")), str(raised.get("evalue"))
        if name == "SystemExit":
            if message.strip() in ("", "None", "0", "False"):
                return how, 0, name
            if re.fullmatch(r"-?\d{1,999}", message.strip()):
                return how, (int(message) & 0xFF) or 1, name
        say(sys.stderr, f"Traceback (most recent call last):\n  {cell['label']}\n{name}: {message}\n")
        return how, TIME_LIMIT if how == "timeout" else 1, name

    def _await_late(self, number: int, identity: str, told: CellMessages) -> None:
        """Take the output that a kernel sends after its `idle`, which some do (protocol J48): until it is quiet, and
        nothing but the answer comes of asking it for one."""
        if told.counted or self.kernel.died:
            return
        ended = time.monotonic()
        limit, pause, more = ended + SIGN_WITHIN, QUIET, True
        while more and time.monotonic() < limit and not self.signals:
            sign, more = os.urandom(16).hex(), False
            quiet = time.monotonic() + pause
            self.kernel.send("shell", "kernel_info_request", {}, sign)
            while (sign or time.monotonic() < quiet) and time.monotonic() < limit and not self.kernel.died:
                for channel, parts in self.kernel.receive():
                    parent = load(parts[1]).get("msg_id")
                    if parent == identity:
                        limit, pause, more = ended + LATE_WITHIN, QUIET_LATER, True
                        quiet = time.monotonic() + pause
                        self._take(number, told, channel, parts)
                    elif parent == sign and load(parts[3]).get("execution_state") == "idle":
                        sign = ""
        if more:
            self.kernel.passed_over += 1  # nobody knows what comes yet

    def _take(self, number: int, told: CellMessages, channel: str, parts: list[bytes]) -> None:
        """Write down and show one message of a cell. One that makes no sense ends nothing, and is counted."""
        header, parent, metadata, content = parts
        kind = str(load(header).get("msg_type"))
        self.writer.add(
            b'{"cell":%d,"message":{"channel":"%b","header":%b,"parent_header":%b,"metadata":%b,"content":%b}}'
            % (number, channel.encode(), header, parent, metadata, content),
            must=kind in ("status", "error", "execute_reply", "execute_input"),
        )
        found = load(content)
        try:
            told.take(channel, kind, found)
            told.counted = told.counted or _NUMBERED.search(str(load(header).get("msg_id"))) is not None
            show(kind, found)
        except (TypeError, ValueError, AttributeError, LookupError, RecursionError):
            self.kernel.passed_over += 1

    def _add_lost(self, number: int, identity: str, held: bytes, arrived: dict[str, int]) -> None:
        """Add what a cell had printed and its kernel had not sent, as if it had come in messages."""
        for name, text in self._last_words["lost"](held, identity, arrived).items():
            content = {"name": name, "text": text.decode("utf-8", "replace")}
            header = {"msg_id": os.urandom(16).hex(), "msg_type": "stream"}
            message = {"channel": "iopub", "header": header, "parent_header": {"msg_id": identity}, "content": content}
            self.writer.add(json.dumps({"cell": number, "message": message | {"metadata": {}}}).encode())
            show("stream", content)

    def close(self) -> None:
        self.writer.close()
        self.kernel.close()

    def _bases(self) -> list[str]:
        """The names in the method-resolution order of the last exception, [] when the kernel does not say in time."""
        text = self._evaluate(_BASES, BASES_LIMIT)
        return [part.strip(" '\"\n") for part in text.strip("[]").split(",") if part.strip()]

    def _evaluate(self, expression: str, limit: float) -> str:
        """The value of an expression as the kernel prints it, "" when it does not say within `limit` seconds."""
        identity = os.urandom(16).hex()
        self.kernel.execute("", identity, {"value": expression})
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline and not self.kernel.died and len(self.signals) < 2:
            for channel, parts in self.kernel.receive():
                if channel == "shell" and load(parts[1]).get("msg_id") == identity:
                    found = load(parts[3])
                    for name in ("user_expressions", "value", "data"):
                        inner = found.get(name)
                        found = inner if isinstance(inner, dict) else {}
                    return str(found.get("text/plain", ""))
        return ""


def load(part: bytes) -> dict[str, Any]:
    """A part of a message; an empty object if it is not JSON. Kernels may send what is not UTF-8 (protocol J33)."""
    try:
        found = json.loads(part.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def show(kind: str, content: dict[str, Any]) -> None:
    """Show people what a message means. Code can publish anything, so the fields may have any type."""
    if kind == "stream":
        say(sys.stderr if content.get("name") == "stderr" else sys.stdout, str(content.get("text", "")))
    elif kind in ("display_data", "execute_result"):
        data = content.get("data")
        if isinstance(data, dict):
            text = data.get("text/plain") or "[" + ", ".join(data) + "]"
            say(sys.stdout, ("".join(map(str, text)) if isinstance(text, list) else str(text)) + "\n")
    elif kind == "error":
        lines = content.get("traceback")
        say(sys.stderr, _ANSI.sub("", "\n".join(map(str, lines if isinstance(lines, list) else []))) + "\n")


def say(stream: Any, text: str) -> None:
    stream.buffer.write(text.encode("utf-8", "backslashreplace"))


def flush(streams: Iterable[Any] = (sys.stdout, sys.stderr)) -> None:
    for stream in streams:
        stream.buffer.flush()


def main(spec: dict[str, Any]) -> int:
    """Run what the spec says and return the exit status."""
    driver = Driver(spec)

    def note(number: int, frame: Any) -> None:
        driver.signals.append(number)

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), note)
    try:
        return driver.run()
    finally:
        driver.close()
        flush()
