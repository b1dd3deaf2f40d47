"""Watches one process from start to end and writes what it does into the run's folder.

This file runs on the runtime as a process of its own, so that a run survives the helper that started it. It is
sent there as text and must work alone, on Python 3.8 and newer, with nothing but the standard library. It reads one
line of JSON from its stdin (the spec, which may hold secrets and therefore never touches a disk or an argument list),
then, for a run with `stdin: true`, frames: `d` + length (4 bytes, big endian) + data, or `e` + four zero bytes at the
end of input.

It tells the helper through its stdout, one byte per happening: `r` the spec was read, `s` started, `o` output was
written, `w` a frame of stdin was taken by the process, `x` the result is written. Nobody has to listen.

Only Linux was tested. On Windows there are no process groups to signal and no way to see how full a pipe is: signals
go to the main process alone, and draining waits for the pumps for a moment instead.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import IO, Any

CHUNK = 1 << 18
PIPE_SIZE = 1 << 20  # asked for; an unprivileged user may get less
STREAM_LIMIT = 8 << 30  # bytes kept of one stream
GRACE = 5.0  # seconds between the steps of ending a process
BEAT = 5.0  # seconds between two notes of what the process uses
FIRST_BEAT = 1.0
DRAIN_WITHOUT_POLL = 2.0  # seconds, only where pipes cannot be polled
STEPS = ("SIGINT", "SIGTERM", "SIGKILL")


def timestamp(moment: float) -> str:
    """A time in seconds since 1970 as ISO 8601 in UTC, with milliseconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f".{int(moment % 1 * 1000):03d}Z"


def write_json(path: str, document: dict[str, Any]) -> None:
    """Write a document so that a reader sees all of it or nothing."""
    temporary = f"{path}.{os.getpid()}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(document, file)
    os.replace(temporary, path)


def identity(pid: int) -> str | None:
    """What tells this process from a later one of the same number; None when there is none (or only a zombie).

    Where the system has no /proc, the answer is "?" for a process that exists.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except FileNotFoundError:
        if os.path.exists("/proc/self/stat"):
            return None
    except OSError:
        return None
    else:
        return None if fields[0] in (b"Z", b"X") else f"{_boot()}-{int(fields[19])}"
    if os.name == "nt":
        return "?"  # os.kill(pid, 0) would end the process there
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return "?"


def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read(8)
    except OSError:
        return "?"


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # realtime signals have no names of their own
        return f"SIG{number}"


def send_signal(pid: int, number: int) -> bool:
    """Send a signal to the process group that `pid` leads; False when there is nobody to get it."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(pid, number)
        else:
            os.kill(pid, number)
    except OSError:
        return False
    return True


class Limits:
    """When work has had its time, or was silent for too long. Moments are seconds of one monotonic clock.

    Args:
        timeout: seconds of work, None for no limit. idle: seconds of silence, likewise.
    """

    def __init__(self, timeout: float | None, idle: float | None, started: float) -> None:
        self._end = started + timeout if timeout else None
        self._idle = idle

    def next(self, active: float) -> float | None:
        """The moment at which to look again, if nothing is heard after `active`; None for never."""
        moments = [self._end, active + self._idle if self._idle else None]
        return min((moment for moment in moments if moment is not None), default=None)

    def reached(self, now: float, active: float) -> str | None:
        """Which limit is reached: `timeout`, `idle-timeout` or None."""
        if self._end is not None and now >= self._end:
            return "timeout"
        if self._idle and now >= active + self._idle:
            return "idle-timeout"
        return None


def usage(session: int) -> dict[str, Any] | None:
    """What the processes of a session use together: processor seconds, bytes of memory; None where nobody tells.

    A run and a kernel each lead a session of their own, and what they start belongs to it.
    """
    if not os.path.exists("/proc/self/stat"):
        return None
    ticks, pages = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    pids, seconds, memory = [], 0.0, 0
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            pids.append(int(name))
            seconds += sum(int(field) for field in fields[11:15]) / ticks  # own, and of children that were waited for
            memory += int(fields[21]) * pages
    return {"pids": pids[:64], "processes": len(pids), "cpuSeconds": round(seconds, 2), "rssBytes": memory}


class Beat:
    """Writes `usage.json` of a run now and then: what it uses, and that somebody watches over it."""

    def __init__(self, folder: str, session: int) -> None:
        self._path = os.path.join(folder, "usage.json")
        self._session = session
        self._last: tuple[float, float] | None = None

    def __call__(self) -> None:
        found = usage(self._session) or {}
        now = time.monotonic()
        if self._last is not None and "cpuSeconds" in found:
            moment, seconds = self._last
            found["cpuPercent"] = round(max(100 * (found["cpuSeconds"] - seconds) / max(now - moment, 0.001), 0), 1)
        if "cpuSeconds" in found:
            self._last = now, found["cpuSeconds"]
        with contextlib.suppress(OSError):  # a full disk; the next one may succeed
            write_json(self._path, {"at": timestamp(time.time()), **found})


def note_signal(folder: str, name: str, by: str) -> None:
    """Write down what was done to end a run, and on whose behalf."""
    line = json.dumps({"signal": name, "by": by, "at": timestamp(time.time())}) + "\n"
    with contextlib.suppress(OSError), open(os.path.join(folder, "signals"), "a") as file:
        file.write(line)


class Notifier:
    """Tells the helper; never waits for it, and goes on when it is dead."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._owed = b""
        if hasattr(os, "set_blocking") and os.name != "nt":
            os.set_blocking(descriptor, False)

    def __call__(self, byte: bytes) -> None:
        with self._lock:
            # When the pipe is full, the helper has plenty to read: one `o` more or less says nothing new.
            if byte != b"o" or not self._owed:
                self._owed += byte
            try:
                self._owed = self._owed[os.write(self._descriptor, self._owed) :]
            except BlockingIOError:
                pass
            except OSError:
                self._owed = b""


class Stream:
    """One output stream: from the process's pipe into its file. Why not a file at once: protocol J32."""

    def __init__(self, name: str, pipe: IO[bytes], folder: str, limit: int, notify: Notifier) -> None:
        self.name = name
        self.kept = 0
        self.dropped = 0
        self.active = time.monotonic()  # when something came last
        self.problem: str | None = None
        self._pipe = pipe
        self._descriptor = pipe.fileno()
        self._file = open_output(folder, name)
        self._limit = limit
        self._notify = notify
        self._lock = threading.Lock()  # what left the pipe is in the file whenever nobody holds this
        self._poll: Any = None
        if os.name != "nt":
            import select

            os.set_blocking(self._descriptor, False)
            _enlarge(self._descriptor)
            if hasattr(select, "poll"):
                self._poll = select.poll()
                self._poll.register(self._descriptor, select.POLLIN)
        self.thread = threading.Thread(target=self._pump, daemon=True)

    def _pump(self) -> None:
        import select

        while True:
            if self._poll is not None:
                self._poll.poll()
            elif os.name != "nt":
                select.select([self._descriptor], [], [])
            if self._poll is None and os.name == "nt":
                if self._step(CHUNK) == 0:
                    return
                continue
            with self._lock:
                if self._step(CHUNK) == 0:
                    return

    def _step(self, most: int) -> int | None:
        """Move up to `most` bytes; returns how many, 0 at the end, None when there is nothing now."""
        try:
            data = os.read(self._descriptor, most)
        except BlockingIOError:
            return None
        except OSError:
            return 0
        if data:
            self.active = time.monotonic()
            self._keep(data)
            self._notify(b"o")
        return len(data)

    def _keep(self, data: bytes) -> None:
        room = max(self._limit - self.kept, 0)
        view = memoryview(data)[:room]
        self.dropped += len(data) - len(view)
        while view:
            try:
                written = os.write(self._file, view)
            except OSError as error:
                # The disk is full or gone. The process must not block, and what is missing must be counted. Nothing
                # may be kept after a hole, or offsets would lie.
                self.problem = f"{self.name} could not be written: {error.strerror}"
                self.dropped += len(view)
                self._limit = self.kept
                return
            self.kept += written
            view = view[written:]

    def drain(self) -> None:
        """Return when everything that is in the pipe now is in the file."""
        if os.name == "nt":
            self.thread.join(DRAIN_WITHOUT_POLL)
            return
        import fcntl
        import termios

        with self._lock:
            waiting = bytearray(4)
            try:
                fcntl.ioctl(self._descriptor, termios.FIONREAD, waiting)
            except OSError:
                return
            left = int.from_bytes(waiting, sys.byteorder)
            while left > 0:
                moved = self._step(min(left, CHUNK))
                if not moved:
                    return
                left -= moved


def open_output(folder: str, name: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
    return os.open(os.path.join(folder, name), flags, 0o600)


def _enlarge(descriptor: int) -> None:
    import fcntl

    with contextlib.suppress(OSError):  # another system, or this user's share of pipe memory is used up
        fcntl.fcntl(descriptor, 1031, PIPE_SIZE)  # F_SETPIPE_SZ, which Python names from 3.10 on


class Supervisor:
    """Runs the process that `spec` describes.

    Keys of `spec`: folder, argv, cwd, env, stdin (bool), timeout and idleTimeout (seconds or null), grace (seconds),
    limit (bytes).
    """

    def __init__(self, spec: dict[str, Any], frames: IO[bytes]) -> None:
        self.spec = spec
        self.folder: str = spec["folder"]
        self.frames = frames
        self.notify = Notifier(1)
        self.exited = threading.Event()
        self.killed_by: list[str] = []
        self.stopped_by: str | None = None  # the limit that ended it
        self.stdin_lost = False
        self.streams: list[Stream] = []
        self.started = time.time()
        self.clock = time.monotonic()

    def run(self) -> None:
        self.notify(b"r")
        try:
            process = self._launch()
        except OSError as error:
            self._not_launched(error)
            return
        limit = int(self.spec.get("limit") or STREAM_LIMIT)
        assert process.stdout is not None
        assert process.stderr is not None
        self.streams = [
            Stream("stdout", process.stdout, self.folder, limit, self.notify),
            Stream("stderr", process.stderr, self.folder, limit, self.notify),
        ]
        write_json(
            os.path.join(self.folder, "state.json"),
            {
                "pid": process.pid,
                "start": identity(process.pid),
                "supervisorPid": os.getpid(),
                "started": timestamp(self.started),
            },
        )
        self.notify(b"s")
        for stream in self.streams:
            stream.thread.start()
        if process.stdin is not None:
            threading.Thread(target=self._feed, args=(process.stdin,), daemon=True).start()
        enforcer = threading.Thread(target=self._enforce, args=(process.pid,), daemon=True)
        if self.spec.get("timeout") or self.spec.get("idleTimeout"):
            enforcer.start()
        threading.Thread(target=self._beat, args=(process.pid,), daemon=True).start()
        status, usage = _wait(process)
        ended = time.time()
        self.exited.set()
        for stream in self.streams:
            stream.drain()
        self._finish(status, ended, usage)
        # Children in the background may go on writing, and what is left of a timed-out group is still to be ended.
        for stream in self.streams:
            stream.thread.join()
        if self.stopped_by:
            enforcer.join()

    # --- starting ---

    def _launch(self) -> subprocess.Popen[bytes]:
        try:
            return self._popen(self.spec["argv"])
        except OSError as error:
            script = self._script(error)
            if script is None:
                raise
            return self._popen(["/bin/sh", script, *self.spec["argv"][1:]])

    def _popen(self, argv: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            argv,
            cwd=self.spec["cwd"],
            env=self.spec["env"],
            stdin=subprocess.PIPE if self.spec.get("stdin") else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )

    def _script(self, error: OSError) -> str | None:
        """The path of a text file without an interpreter line: every shell gives such a file to sh."""
        import errno
        import shutil

        if error.errno != errno.ENOEXEC:
            return None
        path = shutil.which(self.spec["argv"][0], path=self.spec["env"].get("PATH"))
        if path is None:
            return None
        path = os.path.join(self.spec["cwd"], path)
        with open(path, "rb") as file:
            return None if b"\0" in file.read(128) else path

    def _not_launched(self, error: OSError) -> None:
        """The statuses and words of a shell: 127 when there is no such command, 126 when it cannot be executed."""
        command = self.spec["argv"][0]
        status = 126
        text = f"{command}: {error.strerror}"
        if not os.path.isdir(self.spec["cwd"]):
            text = f"{self.spec['cwd']}: {error.strerror}"
        elif isinstance(error, FileNotFoundError):
            status = 127
            if os.path.exists(os.path.join(self.spec["cwd"], command)) and os.path.dirname(command):
                text = f"{command}: its interpreter was not found"
            elif not os.path.dirname(command):
                text = f"{command}: command not found"
        descriptor = open_output(self.folder, "stderr")
        os.write(descriptor, text.encode("utf-8", "surrogateescape") + b"\n")
        os.close(descriptor)
        size = os.path.getsize(os.path.join(self.folder, "stderr"))
        self._write_result({"exit": status, "launched": False, "stderrBytes": size})

    # --- stdin ---

    def _feed(self, stdin: IO[bytes]) -> None:
        descriptor = stdin.fileno()
        broken = False
        while True:
            head = self.frames.read(5)
            if len(head) < 5:
                # The helper died. The process must not wait for ever for input that nobody can send any more.
                self.stdin_lost = not self.exited.is_set()
                break
            if head[:1] == b"e":
                break
            data = self.frames.read(int.from_bytes(head[1:], "big"))
            view = memoryview(data)
            while view and not broken:
                try:
                    view = view[os.write(descriptor, view) :]
                except OSError:
                    broken = True  # it reads no more: what comes is thrown away, as a pipe would do
            self.notify(b"w")
        with contextlib.suppress(OSError):
            stdin.close()

    # --- while it runs ---

    def _beat(self, pid: int) -> None:
        beat = Beat(self.folder, pid)
        wait = FIRST_BEAT
        while not self.exited.wait(wait):
            beat()
            wait = BEAT

    def _enforce(self, pid: int) -> None:
        limits = Limits(self.spec.get("timeout"), self.spec.get("idleTimeout"), self.clock)
        while self.stopped_by is None:
            moment = limits.next(self._active())
            if self.exited.wait(None if moment is None else max(moment - time.monotonic(), 0)):
                return
            self.stopped_by = limits.reached(time.monotonic(), self._active())
        grace = float(self.spec.get("grace") or GRACE)
        for name in STEPS:
            number = getattr(signal, name, signal.SIGTERM)
            # The group may outlive its leader: background jobs of a shell ignore SIGINT.
            if not send_signal(pid, number):
                return
            self.killed_by.append(name)
            deadline = time.monotonic() + grace
            while time.monotonic() < deadline:
                if self.exited.wait(0.02):
                    if not hasattr(os, "killpg") or not send_signal(pid, 0):
                        return
                    time.sleep(0.02)

    def _active(self) -> float:
        """When the process was last heard of."""
        return max([self.clock, *(stream.active for stream in self.streams)])

    # --- the end ---

    def _finish(self, status: int, ended: float, usage: Any) -> None:
        result: dict[str, Any] = {
            "exit": status if status >= 0 else None,
            "signal": signal_name(-status) if status < 0 else None,
            "ended": timestamp(ended),
        }
        if usage is not None:
            unit = 1 if sys.platform == "darwin" else 1024
            result.update(maxRssBytes=usage.ru_maxrss * unit, userSeconds=usage.ru_utime, systemSeconds=usage.ru_stime)
        for stream in self.streams:
            result[stream.name + "Bytes"] = stream.kept
            result["bytesDropped"] = result.get("bytesDropped", 0) + stream.dropped
            if stream.problem:
                result["problem"] = stream.problem
        self._write_result(result)

    def _write_result(self, known: dict[str, Any]) -> None:
        result: dict[str, Any] = {
            "exit": None,
            "signal": None,
            "launched": True,
            "started": timestamp(self.started),
            "ended": timestamp(time.time()),
            "seconds": time.monotonic() - self.clock,
            "stdoutBytes": 0,
            "stderrBytes": 0,
            "bytesDropped": 0,
            "timedOut": self.stopped_by is not None,
            "stoppedBy": self.stopped_by,
            "killedBy": list(self.killed_by),
            "stdinLost": self.stdin_lost,
        }
        result.update(known)
        write_json(os.path.join(self.folder, "result.json"), result)
        self.notify(b"x")


def _wait(process: subprocess.Popen[bytes]) -> tuple[int, Any]:
    """The exit status (negative: the signal) and the resources that the process and its waited-for children used."""
    if not hasattr(os, "wait4"):
        return process.wait(), None
    _, status, usage = os.wait4(process.pid, 0)
    # WIFSTOPPED cannot be: we did not ask for stopped children.
    code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    process.returncode = code
    return code, usage


def _reset_signals() -> None:
    """Undo what a kernel ignores, which its children would ignore, too (protocol J16)."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGCHLD", "SIGTSTP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_SETMASK, [])


def main() -> None:
    _reset_signals()
    frames = open(0, "rb", closefd=False)  # noqa: SIM115 - read until the process ends
    line = frames.readline()
    if not line.endswith(b"\n"):
        return  # the helper went away before it had something to do
    supervisor = Supervisor(json.loads(line), frames)
    try:
        supervisor.run()
    except BaseException as error:
        write_json(
            os.path.join(supervisor.folder, "failure.json"),
            {"message": f"its supervisor failed: {type(error).__name__}: {error}"},
        )
        raise


if __name__ == "__main__":
    try:
        main()
    finally:
        # The thread that reads stdin may hold its lock, over which an orderly shutdown of the interpreter stumbles.
        os._exit(0)
