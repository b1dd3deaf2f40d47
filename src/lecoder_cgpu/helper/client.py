"""The typed client of the helper: calls over a kernel's socket, and following a run without losing a byte.

A warm `start` with its output takes one request, its reply, and the pushes that follow by themselves. Everything that
can be asked twice without harm is asked again when the helper's kernel dies on the way, and all calls can.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from .. import errors
from ..jupyter import messages
from . import answers
from .calls import Calls, Channels, files_type
from .documents import Chunk, Hello, Lease, Report, RunState, Update
from .launch import DEFAULT, Launch

READ_LIMIT = 4 << 20
SAMPLE_PAUSE = 0.1  # seconds between questions while the GPUs are being asked
SAMPLE_LIMIT = 5.0
SMALL = 512 << 10  # bytes of a message; an update may be half as long
INLINE_LEAST = 2 << 10  # bytes of a stream that come with an update over the narrowest way
AGAIN = "repeat the same command"


class Helper(Calls):
    """The helper at the other end of a kernel's socket."""

    def __init__(self, socket: Channels, session_id: str, channel: str = "shell") -> None:
        super().__init__(socket, session_id, channel)
        self.binary: bool | None = None  # whether binary frames pass both ways; None while that was not tried
        self.on_binary: Callable[[bool], None] = lambda passes: None  # told when that is found out

    # --- calls ---

    def hello(self) -> Hello:
        """Which helper answers, and where it runs."""
        return self._call(Hello, "hello")

    def start(
        self,
        run: str,
        command: str | Sequence[str],
        launch: Launch = DEFAULT,
        *,
        stdin: bool = False,
        label: str | None = None,
        kind: str | None = None,
        follow: bool = True,
    ) -> RunState:
        """Start a process, once: the same run id again finds what the first call started.

        Args:
            run: chosen by the caller, 6 to 40 of a-z, 0-9 and -.
            command: a line for `bash -c`, or the words of a command.
            launch: where and with what it starts, and its limits.
            stdin: input will be sent; otherwise it reads /dev/null.
            label: what people read in place of the command.
            kind: what kind of run it is, when it is more than a process.
            follow: have the helper push what happens, for a `Follower`.

        Raises:
            errors.NotFoundError: no such folder. errors.UsageError: the command or environment cannot be one.
        """
        request: dict[str, Any] = {"shell": command} if isinstance(command, str) else {"argv": list(command)}
        request |= launch.request()
        if kind is not None:
            request["kind"] = kind
        if label is not None:
            request["label"] = label
        if follow:
            self._unseen[run] = []
        request |= {"stdin": stdin, "follow": follow, **self._inline()}
        try:
            update = self._call(answers.UpdateAnswer, "start", run=run, **request).update
        except BaseException:
            self._unseen.pop(run, None)
            raise
        if follow:
            self._unseen[run].append(update)
        assert update.state is not None
        return update.state

    def execute(self, run: str, kernel: str, code: str, launch: Launch = DEFAULT) -> RunState:
        """Have a kernel execute code without us, once: the same run id again finds what the first call started.

        Args:
            kernel: its id.
            launch: its limits, digest and results; time counts from when the kernel takes the code up.

        Raises:
            errors.UsageError: (`NoConnection`) the kernel is not on the helper's machine.
        """
        request = launch.limits_request()
        return self._call(answers.Runs, "execute", run=run, kernel=kernel, code=code, **request).runs[0]

    def lease(
        self,
        *,
        until: datetime | msgspec.UnsetType | None = msgspec.UNSET,
        idle: float | msgspec.UnsetType | None = msgspec.UNSET,
    ) -> Lease:
        """The lease on the runtime, after it was changed as told. At its end, the runtime ends our work and releases
        itself, whether or not anybody is there; see `Lease.release` for what that means where.

        Args:
            until: its end, by our clock; only the time from now on counts, so that the clocks may differ. None: no end.
            idle: seconds without work (no run, no call that starts or feeds one, no request about files, no traffic of
                a recorded kernel, no `use`) after which it ends, too. None: it may be idle for ever.
        """
        wanted: dict[str, Any] = {}
        if until is None:
            wanted["seconds"] = None
        elif isinstance(until, datetime):
            wanted["seconds"] = max((until - datetime.now(until.tzinfo)).total_seconds(), 0.0)
        if not isinstance(idle, msgspec.UnsetType):
            wanted["idle"] = idle
        return self._call(answers.Leased, "lease", **wanted).lease

    def poll(self, run: str, stdout: int = 0, stderr: int = 0, order: int = 0) -> Update:
        """What is new behind these offsets of the streams and of their order; also registers for pushes for a minute.

        Raises:
            errors.NotFoundError: there is no such run on the runtime.
        """
        have: dict[str, Any] = {"stdout": stdout, "stderr": stderr, "order": order}
        return self._call(answers.UpdateAnswer, "follow", run=run, **have, **self._inline()).update

    def _inline(self) -> dict[str, Any]:
        """How much of each stream may come with an update, where that is less than usual."""
        return {"inline": max(self.size.most // 8, INLINE_LEAST)} if self.size.most < SMALL else {}

    def state(self, run: str, *, follow: bool = False) -> RunState:
        """How a run stands; with `follow`, it is pushed from now on, too.

        Raises:
            errors.NotFoundError: there is no such run on the runtime.
        """
        state = self._call(answers.UpdateAnswer, "state", run=run, follow=follow).update.state
        assert state is not None
        return state

    def read(
        self, run: str, stream: str, offset: int, limit: int = READ_LIMIT, *, without_secrets: bool = False
    ) -> Chunk:
        """A piece of a stream from `offset` on, of at most 4 MiB. `without_secrets`: what messages may quote of it."""
        arguments = {"run": run, "stream": stream, "offset": offset, "limit": limit, "shown": without_secrets}
        return self._call(Chunk, "read", bounded="limit", **arguments)

    def send_stdin(self, run: str, data: bytes = b"", *, eof: bool = False, offset: int | None = None) -> int:
        """Send input; returns how many bytes wait for the process.

        Args:
            offset: the number of the first byte among all input, which makes it safe to send the same again.
        """
        return self._call(answers.Buffered, "stdin", run=run, offset=offset, data=_text(data), eof=eof).buffered

    def signal(self, run: str, signal: str | int, *, by: str = "kill") -> bool:
        """Signal a run's process group, or the kernel that executes it; False when it has ended already.

        Args:
            signal: a name such as "INT", or a number. Code that waits for its kernel is taken back by any.
            by: on whose behalf, see `documents.Signal`.
        """
        return self._call(answers.Sent, "signal", run=run, signal=signal, nonce=messages.new_id(), by=by).sent

    def kernel_children(self, run: str, signal: str | None = None) -> answers.Children:
        """What a kernel run has started and left alive; `signal` is for what has left the kernel's session."""
        return self._call(answers.Children, "kernel_children", run=run, signal=signal)

    def runs(self, limit: int = 50, *, jobs: bool = False) -> list[RunState]:
        """The newest runs on this runtime, of all clients, and every older one of which something lives; with `jobs`,
        of those that nobody needs to watch."""
        return self._call(answers.Runs, "runs", limit=limit, jobs=jobs).runs

    def show(self, run: str) -> RunState:
        """One run, with its command and how much output there is.

        Raises:
            errors.NotFoundError: there is no such run on the runtime.
        """
        return self._call(answers.Runs, "show", run=run).runs[0]

    def report(self) -> Report:
        """GPUs, memory, disk and processors of the runtime; waits for a sample of the GPUs for some seconds at most."""
        deadline = time.monotonic() + SAMPLE_LIMIT
        while True:
            report = self._call(answers.Reported, "report").report
            if not report.sampling or time.monotonic() > deadline:
                return report
            time.sleep(SAMPLE_PAUSE)

    def record(self, kernel: str, *, settle: bool = False) -> float:
        """Have everything kept that a kernel publishes for our runs; returns for how many seconds that is so already.

        Args:
            settle: return only when all is written down that the kernel has published until now; 0.0 if that fails.

        Raises:
            errors.UsageError: (`NoConnection`) the kernel is not on the helper's machine.
        """
        return self._call(answers.Recorded, "record", kernel=kernel, settle=settle).seconds

    def conclude(self, kernel: str, run: str, reply: dict[str, Any]) -> None:
        """Tell how a run ended whose kernel does not publish its replies (protocol J36)."""
        self._call(answers.Nothing, "conclude", kernel=kernel, run=run, reply=reply)

    def keep_awake(self, wanted: bool) -> None:
        """Say whether a JupyterHub is told that work goes on."""
        self._call(answers.Nothing, "keep_awake", wanted=wanted)

    def use(self) -> None:
        """Tell that the runtime is in use in a way that the helper does not see, so that it is not idle now."""
        self._call(answers.Nothing, "use")

    def forget(self, run: str) -> None:
        """Remove a run that has ended, with its output, from the runtime."""
        self._call(answers.Nothing, "forget", run=run)

    # --- files ---

    def post_files(self, header: bytes, data: bytes | memoryview | None, on_reply: Callable[[list[Any]], None]) -> None:
        """Send a request about files without waiting; `on_reply` gets the answer's buffers from within `receive`.

        The helper must be known to be there (`hello` tells): a kernel without it never answers.
        """
        buffers: tuple[bytes | memoryview, ...] = (header,) if data is None else (header, data)
        content = {}
        if self._socket.subprotocol is None and not self.binary:
            # An old server, or one before a gateway, which breaks off at binary frames (protocol J38), unless somebody
            # has seen them pass there.
            content["parts"] = [base64.b64encode(part).decode() for part in buffers]
            buffers = ()
        request = messages.request(files_type(), content, session=self._session_id, buffers=buffers)
        self._replies[request.msg_id] = lambda message: on_reply(message.buffers or _plain(message.content))
        self._socket.send(request.frame(self._socket.subprotocol))

    def ask_files(self, header: bytes, data: bytes | memoryview | None, most: int) -> list[Any]:
        """The same where binary frames do not pass, or large ones: the content goes and comes as base64 inside calls,
        at most this many bytes in each. Returns the answer's buffers."""
        while True:
            try:
                return self._ask_files(header, data, min(most, self.size.content))
            except errors.MessageTooLarge as error:
                self._make_smaller(error)

    def _ask_files(self, header: bytes, data: bytes | memoryview | None, most: int) -> list[Any]:
        key, text, content = messages.new_id(), header.decode(), data if data is not None else b""
        last = max((len(content) - 1) // most, 0) * most
        for offset in range(0, last, most):
            piece = _text(bytes(content[offset : offset + most]))
            arguments = {"header": text, "key": key, "most": most, "data": piece, "offset": offset, "more": True}
            self._call_once(answers.Nothing, "transfer", **arguments)
        end = None if data is None else _text(bytes(content[last:]))
        answer = self._call_once(answers.Files, "transfer", header=text, key=key, most=most, data=end, offset=last)
        if answer.sizes is None:
            return list(answer.buffers)
        whole = bytearray()
        while len(whole) < sum(answer.sizes):
            piece_of = self._call(
                answers.FilesPiece, "fetch", bounded="size", key=key, offset=len(whole), size=most
            ).data
            if not piece_of:
                raise errors.UnexpectedAnswer("the helper's answer about files ends too early", hint=AGAIN)
            whole += piece_of
        buffers, begin = [], 0
        for size in answer.sizes:
            buffers.append(memoryview(whole)[begin : begin + size])
            begin += size
        return buffers

    @property
    def sends_binary(self) -> bool:
        """Whether requests about files go as binary frames, unless that turned out not to work (protocol J38)."""
        return self._socket.subprotocol is not None

    # --- for followers ---

    def watch(self, run: str, watcher: Callable[[Update], None]) -> bool:
        """Have pushes about a run given to `watcher`, from within `receive` and the calls.

        Returns whether the run is registered for pushes already (by `start`); then the pushes so far were passed on.
        """
        self._watchers[run] = watcher
        unseen = self._unseen.pop(run, None)
        for update in unseen or ():
            watcher(update)
        return unseen is not None

    def unwatch(self, run: str) -> None:
        """Let pushes about a run go by."""
        self._watchers.pop(run, None)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _plain(content: dict[str, Any]) -> list[Any]:
    """The parts of an answer about files that came as text; none if they make no sense."""
    parts = content.get("parts")
    try:
        return [base64.b64decode(part, validate=True) for part in parts] if isinstance(parts, list) else []
    except (TypeError, ValueError):
        return []
