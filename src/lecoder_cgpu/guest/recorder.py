"""Records what users' kernels publish, so that a client gets every byte of a run, whatever becomes of its socket; and
has kernels execute jobs, whose end it therefore sees itself.

Runs on the runtime as a part of the helper (Python 3.8 and newer, standard library and the pyzmq that ipykernel
brings). A recorder subscribes to one kernel's iopub socket with an unlimited queue and writes the messages of our runs
(those whose request carries a run id of ours) down in the order in which the kernel published them. To the kernel, a
recorder is one more subscriber, and one silent request for longer queues, since ZeroMQ drops what does not fit into
them without a word (protocol J2).
"""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from . import executor, supervisor
from .recording import HELPER, Recording, read_json
from .runs import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

SUBSCRIBED_WITHIN = 10.0  # seconds that a caller waits for a subscription; a kernel may be starting only now
GREETING_LIMIT = 5000  # milliseconds for the answer to a request whose effect shows that the subscription works
SETTLED_WITHIN = 5.0  # seconds that a caller waits for the recorder to catch up with the kernel
GREETING_PAUSE = 50  # milliseconds for what the kernel publishes of it to arrive
TICK = 1.0  # seconds between looks at runs without news
_RUN_ID = re.compile(r"run-[0-9a-f]{16}")
_DELIMITER = b"<IDS|MSG>"
# Of headers, in which quotes within values are escaped. Parsing all of them would cost most of a recorder's time.
_ID = re.compile(rb'"msg_id":\s*"([^"\\]*)"')
_TYPE = re.compile(rb'"msg_type":\s*"([^"\\]*)"')
QUEUE = 100_000  # messages that may wait in a kernel for each subscriber, far more than a busy machine lets pile up
DIED = "the kernel died or was restarted"

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
        active: called when a kernel works. ended: called when a run has ended.
    """

    def __init__(
        self,
        home: str,
        folder: str,
        connections: str | None,
        active: Callable[[], None] = lambda: None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self._note = os.path.join(home, "recorded.json")
        self._folder = folder
        self._connections = connections
        self._active = active
        self._ended = ended
        self._recorders: dict[str, Recorder] = {}
        for kernel in (read_json(self._note) or {}).get("kernels", []):  # an earlier helper recorded these
            try:
                self._start(str(kernel))
            except Failure:
                _give_up(folder, str(kernel))

    def record(self, kernel: str, settle: bool = False) -> float:
        """Record a kernel from now on; returns for how many seconds everything that it published was recorded.

        Args:
            settle: wait until all is written down that it has published before this call; 0.0 if that fails.

        Raises:
            Failure: its connection file is not on this machine, or there is no pyzmq.
        """
        recorder = self._of(kernel)
        recorder.subscribed.wait(SUBSCRIBED_WITHIN)
        if settle and not recorder.settle():
            return 0.0
        return recorder.seconds()

    def execute(self, kernel: str, run: str, folder: str, code: str, limits: tuple[float | None, float | None]) -> None:
        """Have a kernel execute code when its turn comes.

        Args:
            folder: of the run, with a `spec.json`.
            limits: seconds that it may take, and that it may be silent.
        """
        recorder = self._of(kernel)
        executor.write_code(folder, code)  # before anything can be lost
        recorder.executor.submit(executor.Job(recorder.expect(run), code, *limits))

    def signal(self, kernel: str, run: str, number: int) -> bool:
        """Take back a job that waits, or signal the kernel if that is what it executes; False when it is neither."""
        recorder = self._recorders.get(kernel)
        return recorder is not None and recorder.stop(run, number)

    def _of(self, kernel: str) -> Recorder:
        known = self._recorders.get(kernel)
        return known if known is not None and known.is_alive() else self._start(kernel)

    def _start(self, kernel: str) -> Recorder:
        recorder = Recorder(kernel, self._connection(kernel), self._folder, self._active, self._ended)
        self._recorders[kernel] = recorder
        recorder.adopt()
        recorder.start()
        alive = sorted(name for name, known in self._recorders.items() if known.is_alive())
        supervisor.write_json(self._note, {"kernels": alive})
        return recorder

    def _connection(self, kernel: str) -> str:
        if not re.fullmatch(r"[\w-]+", kernel):
            raise Failure("BadRequest", f"{kernel!r} is no kernel's id")
        path = os.path.join(self._connections or "", f"kernel-{kernel}.json")
        if read_json(path) is None:
            raise Failure("NoConnection", "the kernel's connection file cannot be read on the helper's machine")
        return path


class Recorder(threading.Thread):
    """Subscribes to one kernel while that has a connection file: a restarted kernel keeps its address (protocol J13).

    `subscribed` is set while the kernel's messages are known to arrive here.
    """

    def __init__(
        self, kernel: str, connection: str, folder: str, active: Callable[[], None], ended: Callable[[], None]
    ) -> None:
        super().__init__(daemon=True)
        import zmq

        self._kernel = kernel
        self._connection_file = connection
        found = read_json(connection) or {}
        self._separator = "-" if found["transport"] == "ipc" else ":"  # either is met (protocol J14, C37)
        self._connection = found
        self._zmq = zmq.Context()  # our own: the kernel in which we live ends its context when it ends
        self._socket = self._connect(zmq.SUB, "iopub_port")
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._control = self._connect(zmq.DEALER, "control_port")
        self._shell = self._connect(zmq.DEALER, "shell_port")
        self._key = str(found.get("key", "")).encode()
        self.subscribed = threading.Event()
        self._since = 0.0
        self._folder = folder
        self._active = active
        self._ended = ended
        self.busy = False
        self._process: tuple[int, str | None] | None = None
        self._runs: dict[str, Recording] = {}
        self._expected: dict[str, Recording] = {}
        self._foreign: set[str] = set()  # runs that another helper records
        self._probe: str | None = None
        self._mark: str | None = None  # the request whose effects come behind all that was published before it
        self._wanted = self._marked = threading.Event()  # who waits for that, and for whom it was asked
        self.executor = executor.Executor(self._send_code, self._signal)

    def _connect(self, kind: int, port: str) -> Any:
        import zmq

        socket = self._zmq.socket(kind)
        if kind == zmq.SUB:
            socket.setsockopt(zmq.RCVHWM, 0)
            socket.setsockopt(zmq.SUBSCRIBE, b"")
        socket.connect(
            f"{self._connection['transport']}://{self._connection['ip']}{self._separator}{self._connection[port]}"
        )
        return socket

    # --- any thread ---

    def seconds(self) -> float:
        """For how long nothing was missed."""
        return time.monotonic() - self._since if self.subscribed.is_set() else 0.0

    def settle(self) -> bool:
        """Whether all that the kernel has published until now is written down. For one thread at a time."""
        self._wanted = done = threading.Event()
        self.executor.ring()
        return done.wait(SETTLED_WITHIN)

    def expect(self, run: str) -> Recording:
        """The recording of a run that will be sent from here."""
        recording = self._expected[run] = Recording(os.path.join(self._folder, run), self._kernel, self._process)
        return recording

    def stop(self, run: str, number: int) -> bool:
        """Take back a job that waits, or signal the kernel if it executes that run now."""
        withdrawn = self.executor.withdraw(run)
        if withdrawn is not None:
            self._expected.pop(run, None)
            withdrawn.finish(exit=None, signal=supervisor.signal_name(number))
            return True
        recording = self._runs.get(run)
        return recording is not None and recording.begun and self._signal(number)

    def adopt(self) -> None:
        """Take over the runs of this kernel whose helper has died. To be done before anybody asks about them: nobody
        could tell their end."""
        for name in sorted(os.listdir(self._folder)):
            folder = os.path.join(self._folder, name)
            spec = read_json(os.path.join(folder, "spec.json")) or {}
            if spec.get("kind") != "kernel" or spec.get("kernel") != self._kernel or _is_recorded(folder):
                continue
            code = executor.unsent(folder)
            recording = Recording(folder, self._kernel, None)
            if code is None:
                self._runs[name] = recording
            else:
                recording.adopted = False  # nothing of it was missed
                self._expected[name] = recording
                limits = spec.get("timeout"), spec.get("idleTimeout")
                self.executor.submit(executor.Job(recording, code, *limits))

    # --- the thread ---

    def run(self) -> None:
        import zmq

        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._monitor, zmq.POLLIN)
        poller.register(self._shell, zmq.POLLIN)
        poller.register(self.executor.wake, zmq.POLLIN)
        while True:
            try:
                if not self.subscribed.is_set() and not self._greet():
                    break
                ready = dict(poller.poll(self._patience()))
                died = self._monitor in ready
                if died:
                    self._monitor.recv_multipart()
                if self.executor.wake in ready:
                    self.executor.awake()
                    if self._wanted is not self._marked:
                        self._mark, self._marked = self._ask(), self._wanted
                while True:  # all that waits, then let it be read
                    try:
                        self._take(self._socket.recv_multipart(zmq.NOBLOCK))
                    except zmq.Again:
                        break
                for recording in self._runs.values():
                    recording.flush()
                    recording.tick()
                if self._mark == "seen":
                    self._mark = None
                    self._marked.set()
                if died:
                    poller.unregister(self._shell)
                    self._kernel_died()
                    poller.register(self._shell, zmq.POLLIN)
                    continue
                if self._shell in ready:
                    self._replied(self._shell.recv_multipart())
                sent = self.executor.step()
                if sent is not None:
                    self._runs[sent.id] = sent
                if self.busy:
                    self._active()
            except OSError:  # a full disk: what is lost is counted by the recording
                time.sleep(0.1)
        self._kernel_died()
        self._close()

    def _patience(self) -> int | None:
        """Milliseconds until there is something to do even if no message comes."""
        moments = [TICK] if self._runs or self.busy else []
        if (due := self.executor.next_moment) is not None:
            moments.append(max(due - time.monotonic(), 0))
        return int(1000 * min(moments)) + 1 if moments else None

    def _greet(self) -> bool:
        """Return when the kernel's messages arrive here; False when the server has forgotten the kernel.

        A subscription is made in the background, and until the kernel knows of it, what it publishes goes nowhere
        (protocol J3). So it is made to publish something, over the channel that it serves even when busy
        (protocol J12).
        """
        is_python = True  # until it says otherwise; one that is only starting publishes before it answers
        while True:
            self._ask()
            # One at a time: what is answered only later would get between the messages of somebody's run.
            if self._control.poll(GREETING_LIMIT):
                is_python = b'"python"' in self._control.recv_multipart()[-1]
            if self._socket.poll(GREETING_PAUSE):
                break
            if not os.path.exists(self._connection_file):
                return False
        self._process = kernel_process(self._kernel)
        self._examine_adopted()
        # Behind everything that the kernel has been given already, and before what we are waited for with.
        self._probe = os.urandom(16).hex()
        self._send_code(self._probe, _LENGTHEN_QUEUES if is_python else "", silent=True)
        self._since = time.monotonic()
        self.subscribed.set()
        return True

    def _ask(self) -> str:
        """Make the kernel publish something, over the channel that it serves even when busy; the request's id."""
        while self._control.poll(0):  # replies to earlier ones
            self._control.recv_multipart()
        request = os.urandom(16).hex()
        self._control.send_multipart(self._request("kernel_info_request", {}, request))
        return request

    def _request(self, kind: str, content: dict[str, Any], msg_id: str | None = None) -> list[bytes]:
        import hashlib
        import hmac

        header = {
            "msg_id": msg_id or os.urandom(16).hex(),
            "msg_type": kind,
            "username": "lecoder-cgpu",
            "session": "recorder",
            "date": supervisor.timestamp(time.time()),
            "version": "5.3",
        }
        parts = [json.dumps(header).encode(), b"{}", b"{}", json.dumps(content).encode()]
        signature = hmac.new(self._key, b"".join(parts), hashlib.sha256).hexdigest() if self._key else ""
        return [_DELIMITER, signature.encode(), *parts]

    def _send_code(self, run: str, code: str, *, silent: bool = False) -> None:
        content = {
            "code": code,
            "silent": silent,
            "store_history": not silent,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": False,
        }
        self._shell.send_multipart(self._request("execute_request", content, run))

    # --- messages ---

    def _take(self, parts: list[bytes]) -> None:
        start = parts.index(_DELIMITER) + 2  # behind the signature
        header, parent, metadata, content = parts[start : start + 4]
        kind, number, run = _field(_TYPE, header), _field(_ID, header), _field(_ID, parent)
        for other, known in self._runs.items():
            if other != run:
                known.numbers.note_foreign(number, run)
        state = json.loads(content).get("execution_state") if kind == "status" else None
        if state is not None and _field(_TYPE, parent) == "execute_request":
            self.busy = state == "busy"
            self._active()
        if run == self._mark:
            self._mark = "seen"
        recording = self._recording(run) if _RUN_ID.fullmatch(run) else None
        if recording is None:
            return
        recording.numbers.note(number)
        recording.add(kind, header, parent, metadata, content)
        if state == "idle":
            self._idle(recording)

    def _recording(self, run: str) -> Recording | None:
        """Where a run's messages go; None when another helper, of another version, records it."""
        recording = self._runs.get(run)
        if recording is None and run not in self._foreign:
            recording = self._expected.pop(run, None) or self._open(run)
            if recording is None:
                self._foreign.add(run)
            else:
                self._runs[run] = recording
        return recording

    def _open(self, run: str) -> Recording | None:
        folder = os.path.join(self._folder, run)
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            if _is_recorded(folder):
                return None
        return Recording(folder, self._kernel, self._process)

    def _idle(self, recording: Recording) -> None:
        known = self.executor.ended(recording.id, begun=recording.begun)
        del self._runs[recording.id]
        self._expected.pop(recording.id, None)
        if known is None:
            recording.restart()
            self._expected[recording.id] = recording
        else:
            recording.finish(**known)
            self._ended()

    def _replied(self, parts: list[bytes]) -> None:
        """A reply on the shell channel: that to our probe says that all earlier work is over."""
        start = parts.index(_DELIMITER) + 2
        if self._probe is None or json.loads(parts[start + 1]).get("msg_id") != self._probe:
            return
        self._probe = None
        for run, recording in list(self._runs.items()):
            if recording.adopted:
                recording.lose("it ended while the helper on the runtime was down, and nobody saw how")
                del self._runs[run]

    # --- what another helper left ---

    def _examine_adopted(self) -> None:
        """Find out whether the kernel is still the one that was executing them; if it is, `_replied` goes on."""
        adopted = [recording for recording in self._runs.values() if recording.adopted]
        for recording in adopted:
            spec = read_json(os.path.join(recording.folder, "spec.json")) or {}
            process = (spec.get("kernelPid"), spec.get("kernelStart"))
            if self._process is not None and process[0] is not None and process != self._process:
                del self._runs[recording.id]
                recording.finish(died=DIED)

    # --- the kernel's process ---

    def _signal(self, number: int) -> bool:
        """Signal the kernel's process, as its server would; in any thread."""
        known = self._process
        if known is not None and supervisor.identity(known[0]) == known[1] and supervisor.send_signal(known[0], number):
            return True
        if number != signal.SIGINT:
            return False
        import zmq

        socket = self._connect(zmq.DEALER, "control_port")  # not the thread's own
        socket.send_multipart(self._request("interrupt_request", {}))
        socket.close(linger=1000)
        return True

    def _kernel_died(self) -> None:
        """What it was executing has ended with it, and what comes next has to be proven again."""
        import zmq

        self.subscribed.clear()
        self.busy = False
        self._probe = self._mark = None
        doomed = {recording.id: (recording, known) for recording, known in self.executor.kernel_died()}
        for recording in self._runs.values():
            doomed.setdefault(recording.id, (recording, {}))
        self._runs.clear()
        self._expected.clear()
        for recording, known in doomed.values():
            recording.finish(died=DIED, **known)
            self._ended()
        # What waits in this socket would be given to the next process.
        self._shell.close(linger=0)
        self._shell = self._connect(zmq.DEALER, "shell_port")

    def _close(self) -> None:
        for socket in (self._socket, self._control, self._shell):
            socket.close(linger=0)


def _field(pattern: re.Pattern[bytes], header: bytes) -> str:
    found = pattern.search(header)
    return found.group(1).decode() if found else ""


def _is_recorded(folder: str) -> bool:
    """Whether a run has ended, or a living helper (not this one) records it."""
    if os.path.exists(os.path.join(folder, "result.json")) or os.path.exists(os.path.join(folder, "failure.json")):
        return True
    spec = read_json(os.path.join(folder, "spec.json"))
    if spec is None:
        return time.time() - os.stat(folder).st_mtime < SUBSCRIBED_WITHIN  # its owner is about to write it
    pid = spec.get("supervisorPid")
    if pid is None or supervisor.identity(pid) != spec.get("supervisorStart"):
        return False
    return pid != os.getpid() or spec.get("helper") != HELPER


def _give_up(folder: str, kernel: str) -> None:
    """The kernel is gone, and with it what it was executing when the last helper died."""
    for name in os.listdir(folder):
        run = os.path.join(folder, name)
        spec = read_json(os.path.join(run, "spec.json")) or {}
        if spec.get("kind") == "kernel" and spec.get("kernel") == kernel and not _is_recorded(run):
            Recording(run, kernel, None).finish(died=DIED)


def kernel_process(kernel: str) -> tuple[int, str | None] | None:
    """The process of a kernel and its identity, by its arguments; None where the system does not tell."""
    wanted = f"kernel-{kernel}.json".encode()
    try:
        names = os.listdir("/proc")
    except OSError:
        return None
    for name in names:
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                arguments = file.read().split(b"\0")
        except OSError:
            continue
        if any(argument.endswith(wanted) for argument in arguments) and os.getpid() != int(name):
            return int(name), supervisor.identity(int(name))
    return None
