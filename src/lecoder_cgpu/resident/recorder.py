"""Records what users' kernels publish, so that a client gets every byte of a run, whatever becomes of its socket.

Runs on the runtime as a part of the resident (Python 3.8 and newer, standard library and the pyzmq that ipykernel
brings). A recorder subscribes to one kernel's iopub socket with an unlimited queue and writes the messages of our runs
(those whose request carries a run id of ours) into `runs/<id>/messages`, one JSON object a line, in the order in which
the kernel published them. To the kernel, a recorder is one more subscriber, and one silent request for longer queues:
ZeroMQ drops what a publisher has to wait with, beyond 1000 messages, and says nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
import time
from typing import Any

from . import supervisor
from .runs import Failure

LIMIT = 1 << 30  # bytes kept of one run's messages
SUBSCRIBED_WITHIN = 10.0  # seconds that a caller waits for a subscription; a kernel may be starting only now
GREETING_LIMIT = 5000  # milliseconds for the answer to a request whose effect shows that the subscription works
SETTLED_WITHIN = 5.0  # seconds that a caller waits for the recorder to catch up with the kernel
GREETING_PAUSE = 50  # milliseconds for what the kernel publishes of it to arrive
IDLE_CLOSE = 5.0  # seconds after which the file of a run without news is closed
QUEUE = 100_000  # messages that may wait in a kernel for each subscriber, far more than a busy machine lets pile up
_RUN_ID = re.compile(r"run-[0-9a-f]{16}")
_DELIMITER = b"<IDS|MSG>"

# Executed in a kernel. Its sockets belong to a thread, which is asked to do it.
_LENGTHEN_QUEUES = f"""
def _lecoder_queues():
    import zmq
    from IPython import get_ipython
    thread = get_ipython().kernel.iopub_thread
    thread.schedule(lambda: thread.socket.setsockopt(zmq.SNDHWM, {QUEUE}))
try:
    _lecoder_queues()
finally:
    del _lecoder_queues
"""


class Recorders:
    """The recorders of this runtime, one for each kernel that a client asked to record.

    Args:
        home: the folder of this tool on the runtime.
        folder: where runs are kept.
        connections: the folder of Jupyter's connection files, None when this kernel does not know it.
    """

    def __init__(self, home: str, folder: str, connections: str | None) -> None:
        self._note = os.path.join(home, "recorded.json")
        self._folder = folder
        self._connections = connections
        self._recorders: dict[str, Recorder] = {}
        for kernel in self._noted():  # an earlier resident of this runtime recorded these
            with contextlib.suppress(Failure):
                self._start(kernel)

    def record(self, kernel: str, settle: bool = False) -> float:
        """Record a kernel from now on; returns for how many seconds everything that it published was recorded.

        Args:
            settle: wait until all is written down that it has published before this call; 0.0 if that fails.

        Raises:
            Failure: its connection file is not on this machine, or there is no pyzmq.
        """
        recorder = self._recorders.get(kernel) or self._start(kernel)
        recorder.subscribed.wait(SUBSCRIBED_WITHIN)
        if settle and not recorder.settle():
            return 0.0
        return recorder.seconds()

    def _start(self, kernel: str) -> Recorder:
        self._recorders[kernel] = recorder = Recorder(self._connection(kernel), self._folder)
        recorder.start()
        supervisor.write_json(self._note, {"kernels": sorted(self._recorders)})
        return recorder

    def _noted(self) -> list[str]:
        try:
            with open(self._note, encoding="utf-8") as file:
                return [str(kernel) for kernel in json.load(file)["kernels"]]
        except (OSError, ValueError, KeyError):
            return []

    def _connection(self, kernel: str) -> dict[str, Any]:
        if not re.fullmatch(r"[\w-]+", kernel):
            raise Failure("BadRequest", f"{kernel!r} is no kernel's id")
        path = os.path.join(self._connections or "", f"kernel-{kernel}.json")
        try:
            with open(path, encoding="utf-8") as file:
                found: dict[str, Any] = json.load(file)
                return found
        except (OSError, ValueError) as error:
            raise Failure("NoConnection", f"the kernel's connection file cannot be read: {error}") from error


class Recorder(threading.Thread):
    """Subscribes to one kernel, for as long as this process lives: a restarted kernel keeps its address.

    `subscribed` is set while the kernel's messages are known to arrive here.
    """

    def __init__(self, connection: dict[str, Any], folder: str) -> None:
        super().__init__(daemon=True)
        import zmq

        context = zmq.Context()  # our own: the kernel in which we live ends its context when it ends
        self._socket = context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.setsockopt(zmq.SUBSCRIBE, b"")
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._control = context.socket(zmq.DEALER)
        self._shell = context.socket(zmq.DEALER)
        separator = "-" if connection["transport"] == "ipc" else ":"
        sockets = ((self._socket, "iopub_port"), (self._control, "control_port"), (self._shell, "shell_port"))
        for socket, port in sockets:
            socket.connect(f"{connection['transport']}://{connection['ip']}{separator}{connection[port]}")
        self._key = str(connection.get("key", "")).encode()
        self.subscribed = threading.Event()
        self._since = 0.0
        self._bell, self._rope = context.socket(zmq.PAIR), context.socket(zmq.PAIR)  # to be heard by our thread
        self._bell.bind("inproc://bell")
        self._rope.connect("inproc://bell")
        self._mark = ""  # the request whose effects come behind all that was published before it
        self._wanted = self._marked = threading.Event()  # who waits for it
        self._folder = folder
        self._runs: dict[str, _Recording] = {}

    def seconds(self) -> float:
        """For how long nothing was missed."""
        return time.monotonic() - self._since if self.subscribed.is_set() else 0.0

    def settle(self) -> bool:
        """Whether all that the kernel has published until now is written down. For one thread at a time."""
        self._wanted = done = threading.Event()
        self._rope.send(b"")
        return done.wait(SETTLED_WITHIN)

    def run(self) -> None:
        import zmq

        poller = zmq.Poller()
        for socket in (self._socket, self._monitor, self._bell):
            poller.register(socket, zmq.POLLIN)
        while True:
            try:
                if not self.subscribed.is_set():
                    self._greet()
                ready = dict(poller.poll(1000 if self._runs else None))
                if not ready:
                    self._close_quiet()
                if self._monitor in ready:  # the kernel's process has ended; what comes next has to be proven again
                    self._monitor.recv_multipart()
                    self.subscribed.clear()
                if self._bell in ready:
                    self._bell.recv()
                    self._mark, self._marked = self._ask(), self._wanted
                while True:  # all that waits, then let it be read
                    try:
                        self._take(self._socket.recv_multipart(zmq.NOBLOCK))
                    except zmq.Again:
                        break
                for recording in self._runs.values():
                    recording.flush()
                if self._mark == "seen":
                    self._mark = ""
                    self._marked.set()
            except OSError:  # a full disk: what is lost is counted by the recording
                time.sleep(0.1)

    def _greet(self) -> None:
        """Return when the kernel's messages arrive here.

        A subscription is made in the background, and until the kernel knows of it, what it publishes goes nowhere. So
        it is made to publish something, over the channel that it serves while it is busy, too.
        """
        is_python = False
        while True:
            self._ask()
            # One at a time: what is answered only later would get between the messages of somebody's run.
            if self._control.poll(GREETING_LIMIT):
                is_python = b'"python"' in self._control.recv_multipart()[-1]
            if self._socket.poll(GREETING_PAUSE):
                break
        if is_python:  # before the code of anyone who waits for us
            content = {"code": _LENGTHEN_QUEUES, "silent": True, "store_history": False, "user_expressions": {},
                       "allow_stdin": False, "stop_on_error": False}  # fmt: skip
            self._shell.send_multipart(self._request("execute_request", content))
        self._since = time.monotonic()
        self.subscribed.set()

    def _ask(self) -> str:
        """Make the kernel publish something, over the channel that it serves even when busy; the request's id."""
        import zmq

        with contextlib.suppress(zmq.Again):  # replies to earlier ones
            while True:
                self._control.recv_multipart(zmq.NOBLOCK)
        identity = os.urandom(16).hex()
        self._control.send_multipart(self._request("kernel_info_request", {}, identity))
        return identity

    def _request(self, kind: str, content: dict[str, Any], identity: str = "") -> list[bytes]:
        import hashlib
        import hmac

        header = {"msg_id": identity or os.urandom(16).hex(), "msg_type": kind, "username": "lecoder-cgpu",
                  "session": "recorder", "date": supervisor.timestamp(time.time()), "version": "5.3"}  # fmt: skip
        parts = [json.dumps(header).encode(), b"{}", b"{}", json.dumps(content).encode()]
        signature = hmac.new(self._key, b"".join(parts), hashlib.sha256).hexdigest() if self._key else ""
        return [_DELIMITER, signature.encode(), *parts]

    def _take(self, parts: list[bytes]) -> None:
        start = parts.index(_DELIMITER) + 2  # behind the signature
        header, parent, metadata, content = parts[start : start + 4]
        run = json.loads(parent).get("msg_id", "")
        if self._mark and run == self._mark:
            self._mark = "seen"
        number = json.loads(header).get("msg_id", "")
        for other, recording in self._runs.items():
            if other != run:
                recording.numbers.note_foreign(number, run)
        if not _RUN_ID.fullmatch(run):
            return
        if run not in self._runs:
            self._runs[run] = _Recording(os.path.join(self._folder, run), run)
        recording = self._runs[run]
        recording.numbers.note(number)
        recording.add(header, parent, metadata, content)
        if b'"status"' in header and json.loads(content).get("execution_state") == "idle":
            recording.finish()
            del self._runs[run]

    def _close_quiet(self) -> None:
        for recording in self._runs.values():
            if time.monotonic() - recording.written_at > IDLE_CLOSE:
                recording.rest()


class _Numbers:
    """Counts what is missing of a run: a Python kernel numbers everything that it sends, in the last part of each
    message's id, and what it publishes beside the run is seen here, too.

    Only replies are not. One is certain, the run's own; of other requests that were served meanwhile, each may have had
    one. Requests for input are not seen either: the client that answered them knows how many there were.
    """

    def __init__(self) -> None:
        self._source = ""
        self._first = self._last = self._seen = 0
        self._requests: set[str] = set()

    def note(self, msg_id: str) -> None:
        """A message of the run."""
        source, _, digits = msg_id.rpartition("_")
        if not digits.isdigit():
            return
        number = int(digits)
        if not self._seen:
            self._source, self._first = source, number
        if source == self._source:  # a forked process counts for itself
            self._seen += 1
            self._last = max(self._last, number)

    def note_foreign(self, msg_id: str, request: str) -> None:
        """A message that belongs to another request."""
        source, _, digits = msg_id.rpartition("_")
        if digits.isdigit() and source == self._source and int(digits) > self._first:
            self._seen += 1
            self._requests.add(request)

    def missing(self) -> int:
        """How many messages at least were not seen between the first and the last of the run."""
        return max(self._last - self._first + 1 - self._seen - 1 - len(self._requests), 0)


class _Recording:
    """The file of one run, and what is known of it."""

    def __init__(self, folder: str, run: str) -> None:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self._folder = folder
        self._path = os.path.join(folder, "messages")
        self._file: Any = None
        self._size = 0
        self._dropped = 0
        self._error: dict[str, Any] | None = None
        self._started = time.time()
        self.numbers = _Numbers()
        self.written_at = time.monotonic()
        spec = {
            "run": run, "kind": "kernel", "created": supervisor.timestamp(self._started), "supervisorPid": os.getpid(),
            "supervisorStart": supervisor.identity(os.getpid()),
        }  # fmt: skip
        supervisor.write_json(os.path.join(folder, "spec.json"), spec)
        started = {"started": spec["created"], "pid": None}
        supervisor.write_json(os.path.join(folder, "state.json"), started)

    def add(self, header: bytes, parent: bytes, metadata: bytes, content: bytes) -> None:
        """Write one message down as it came; its parts are JSON already."""
        self.written_at = time.monotonic()
        if b'"error"' in header:
            found = json.loads(content)
            self._error = {"ename": found.get("ename"), "evalue": found.get("evalue")}
        line = b'{"channel":"iopub","header":%b,"parent_header":%b,"metadata":%b,"content":%b}\n' % (
            header, parent, metadata, content,
        )  # fmt: skip
        if self._size + len(line) > LIMIT and b'"status"' not in header:
            self._dropped += len(line)
            return
        if self._file is None:
            self._file = open(self._path, "ab", buffering=1 << 16)  # noqa: SIM115 - closed by `rest`
        self._file.write(line)
        self._size += len(line)

    def flush(self) -> None:
        if self._file is not None:
            self._file.flush()

    def rest(self) -> None:
        """Close the file until there is more."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def finish(self) -> None:
        """The run has ended: say how."""
        self.rest()
        result = {
            "exit": 1 if self._error else 0, "signal": None, "started": supervisor.timestamp(self._started),
            "ended": supervisor.timestamp(time.time()), "seconds": time.time() - self._started,
            "bytesDropped": self._dropped, "messagesMissing": self.numbers.missing(), "error": self._error,
        }  # fmt: skip
        supervisor.write_json(os.path.join(self._folder, "result.json"), result)
