"""Watches one process from start to end and writes what it does into the run's folder.

This is a program of its own on the runtime (see `programs`), so that a run survives the helper that started it: Python
3.8 and newer, standard library only.

**Input.** One line of JSON on stdin: the spec. It may hold secrets, so it never touches a disk or an argument list.
Then, for a run with `stdin: true`, frames: `d` + length (4 bytes, big endian) + data, or `e` + four zero bytes at the
end of the input.

**Notices.** One byte on stdout for each event; nobody has to listen. `r`: the spec was read. `s`: the process was
started. `o`: output was written. `w`: the process took a frame of stdin. `m`: nearly all of the memory
is in use. `x`: the result is written.

**Files**, each of which is written whole: `state.json` when the process was started, `usage.json` every few seconds,
`result.json` at the end, `failure.json` if the supervisor itself fails. `stdout` and `stderr` grow,
and with them `order` (see `output_order`).

**States.**

    waiting for a spec -> launching -> running -> exited -> over -> drained -> result written
                              |                     |
                              |                     +-> ending, if somebody has ended the run: until nothing of it lives
                              +-> result written, if nothing could be launched

* A run that ends by itself is over with its command, as in a shell. What the command left in the background lives on;
  the result names it (`remaining`), and the supervisor stays as long as it holds the pipes, and writes its output.
* A run that somebody ended (a limit of its own, or a signal that the file `signals` tells of) is over when none of its
  processes lives (see `run_processes`). A process that not even SIGKILL ends is named as `remaining`, too.

`result.json` is written when the run is over, its pipes are drained, and what `push` names was copied (see `pushes`),
so the sizes in it count everything that was written by then. When a limit is reached, one thread sends SIGTERM to all
processes of the run, as `timeout` does, and SIGKILL when they have had their time to save their work.

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

from . import memory, usage
from .limits import SAVING, RunLimits
from .output_streams import Notifier, OutputPump, OutputStream, open_output
from .processes import identity, signal_name
from .pushes import EVERY, Pusher
from .run_processes import ENDING, Process, RunProcesses, adopt_orphans, named, reap
from .state_files import read_signals, timestamp, write_json

STREAM_LIMIT = 8 << 30  # bytes kept of one stream
AFTER_SIGNAL = 600.0  # seconds: a command that exits later than that after a signal has ended by itself
AFTER_KILL = 10.0  # seconds that the system gets to remove what SIGKILL was sent to
LOOKS = (0.02, 0.25)  # seconds between two looks at what still lives, at first and at most
STEPS = ("SIGTERM", "SIGKILL")


class Supervisor:
    """Runs the process that `spec` describes.

    Keys of `spec`: folder, argv, cwd, env, stdin (bool), timeout and idleTimeout (seconds or null), grace (seconds),
    limit (bytes), push (pairs of a path and a folder) and pushEvery (seconds).
    """

    def __init__(self, spec: dict[str, Any], frames: IO[bytes]) -> None:
        self.spec = spec
        self.folder: str = spec["folder"]
        self.frames = frames
        self.notify = Notifier(1)
        self.processes = RunProcesses(self.folder, {})
        self.exited = threading.Event()  # the command has ended
        self.over = threading.Event()  # so has all of the run that has to end
        self.killed_by: list[str] = []
        self.killing = threading.Lock()  # held from a signal until it is noted in `killed_by`
        self.stopped_by: str | None = None  # the limit that ended it
        self.stdin_lost = False
        every = float(spec.get("pushEvery") or EVERY)
        self.pusher = Pusher(spec["folder"], spec["cwd"], spec.get("push") or [], every, spec["env"])
        self.streams: list[OutputStream] = []
        self.kills = memory.kills()
        self.started = time.time()
        self.clock = time.monotonic()

    def run(self) -> None:
        self.notify(b"r")
        limit = int(self.spec.get("limit") or STREAM_LIMIT)
        pipes = [os.pipe() for _ in ("stdout", "stderr")]
        self.streams = [
            OutputStream(name, reader, self.folder, limit)
            for name, (reader, _) in zip(("stdout", "stderr"), pipes)  # noqa: B905 - not in Python 3.8
        ]
        pump = OutputPump(self.streams, self.folder, self.notify)  # listens before anything can be written
        try:
            process = self._launch([writer for _, writer in pipes])
        except OSError as error:
            self._not_launched(error)
            return
        finally:
            for _, writer in pipes:
                os.close(writer)
        started = {
            "pid": process.pid,
            "start": identity(process.pid, zombie=True),
            "supervisorPid": os.getpid(),
            "started": timestamp(self.started),
        }
        self.processes = RunProcesses(self.folder, started, supervised=True)
        write_json(os.path.join(self.folder, "state.json"), started)
        self.notify(b"s")
        pump.start()
        if process.stdin is not None:
            threading.Thread(target=self._feed, args=(process.stdin,), daemon=True).start()
        enforcer = threading.Thread(target=self._enforce, daemon=True)
        if self.spec.get("timeout") or self.spec.get("idleTimeout"):
            enforcer.start()
        threading.Thread(target=self._beat, args=(process.pid,), daemon=True).start()
        self.pusher.start(self.over)
        status, used = _wait(process)
        self.exited.set()
        remaining = self._await_end()
        ended = time.time()
        self.over.set()
        pump.drain()
        self._finish(status, ended, used, remaining)
        pump.join()  # what lives on in the background may go on writing

    # --- starting ---

    def _launch(self, outputs: list[int]) -> subprocess.Popen[bytes]:
        """Start the command. Its stdout and stderr are the descriptors in `outputs`."""
        try:
            return self._popen(self.spec["argv"], outputs)
        except OSError as error:
            script = self._script(error)
            if script is None:
                raise
            return self._popen(["/bin/sh", script, *self.spec["argv"][1:]], outputs)

    def _popen(self, argv: list[str], outputs: list[int]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            argv,
            cwd=self.spec["cwd"],
            env=self.spec["env"],
            stdin=subprocess.PIPE if self.spec.get("stdin") else subprocess.DEVNULL,
            stdout=outputs[0],
            stderr=outputs[1],
            bufsize=0,
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )

    def _script(self, error: OSError) -> str | None:
        """The path of the command, if it is a text file without an interpreter line. Shells give such a file to sh."""
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
        """Write a result with the statuses and words of a shell: 127 for a missing command, 126 for a bad one."""
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
                # The helper died. The process must not wait forever for input that can no longer come.
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
                    broken = True  # it reads no more: further input is thrown away, as a pipe would do
            self.notify(b"w")
        with contextlib.suppress(OSError):
            stdin.close()

    # --- while it runs ---

    def _beat(self, pid: int) -> None:
        note_usage = usage.UsageLog(self.folder, pid)
        due = time.monotonic() + usage.FIRST
        while not self.over.wait(usage.LOOK):
            is_full = (memory.share() or 0.0) > usage.FULL
            if is_full or time.monotonic() >= due:
                note_usage()
                reap(pid)
                due = time.monotonic() + usage.INTERVAL - usage.LOOK / 2
            if is_full:
                self.notify(b"m")

    def _enforce(self) -> None:
        """End the run when a limit is reached, and go on to the next harder signal while anything of it lives."""
        limits = RunLimits(self.spec.get("timeout"), self.spec.get("idleTimeout"), self.clock)
        while self.stopped_by is None:
            moment = limits.next(self._active())
            if self.over.wait(None if moment is None else max(moment - time.monotonic(), 0)):
                return
            self.stopped_by = limits.reached(time.monotonic(), self._active())
        grace = float(self.spec.get("grace") or SAVING)
        for name in STEPS:
            with self.killing:
                if not self.processes.signal(getattr(signal, name, signal.SIGTERM)):
                    return
                self.killed_by.append(name)
            if self.over.wait(grace):
                return

    def _active(self) -> float:
        """The moment of the last output."""
        return max([self.clock, *(stream.active for stream in self.streams)])

    # --- the end ---

    def _await_end(self) -> list[Process]:
        """Wait until nothing of the run lives, if somebody has ended it; returns what lives on.

        Called when the command has ended. The wait has no limit before SIGKILL was sent: a program may save its work.
        """
        left, pace = time.time(), LOOKS[0]
        killed: float | None = None
        while True:
            alive = self.processes.alive()
            last = self._last_signal(left)
            if not alive or last is None:
                return alive
            if last == "SIGKILL":
                self.processes.signal(getattr(signal, "SIGKILL", signal.SIGTERM))  # what was started meanwhile
                killed = time.monotonic() if killed is None else killed
                if time.monotonic() - killed >= AFTER_KILL:
                    return alive
            time.sleep(pace)
            pace = min(pace * 1.5, LOOKS[1])

    def _last_signal(self, left: float) -> str | None:
        """The last signal sent to end the run; None if the command, which exited at `left`, did so by itself."""
        with self.killing:
            if self.killed_by:
                return self.killed_by[-1]
        if self.stopped_by:
            return STEPS[0]  # is being sent
        path = os.path.join(self.folder, "signals")
        try:
            if left - os.stat(path).st_mtime > AFTER_SIGNAL:
                return None
        except OSError:
            return None
        sent = [item["signal"] for item in read_signals(self.folder) if item["signal"] in ENDING]
        return sent[-1] if sent else None

    def _finish(self, status: int, ended: float, used: Any, remaining: list[Process]) -> None:
        result: dict[str, Any] = {
            "exit": status if status >= 0 else None,
            "signal": signal_name(-status) if status < 0 else None,
            "ended": timestamp(ended),
            "remaining": named(remaining),
            "outOfMemory": status in (-9, 128 + 9) and not self.killed_by and memory.kills() > self.kills,
        }
        if used is not None:
            unit = 1 if sys.platform == "darwin" else 1024
            result.update(maxRssBytes=used.ru_maxrss * unit, userSeconds=used.ru_utime, systemSeconds=used.ru_stime)
        for stream in self.streams:
            result[stream.name + "Bytes"] = stream.kept
            result["bytesDropped"] = result.get("bytesDropped", 0) + stream.dropped
            if stream.problem:
                result["problem"] = stream.problem
        ending = {name: result[name] for name in ("exit", "signal", "ended")}
        result["pushes"] = self.pusher.finish({"run": os.path.basename(self.folder), **ending})
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
    # The process cannot be stopped here: we did not ask for stopped children.
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
    """Watch the process that the spec on stdin describes; does not return."""
    try:
        _supervise()
    finally:
        # The thread that reads stdin may hold its lock, which makes an orderly shutdown of the interpreter fail.
        os._exit(0)


def _supervise() -> None:
    _reset_signals()
    adopt_orphans()  # while it waits for its work: before anything can be orphaned
    frames = open(0, "rb", closefd=False)  # noqa: SIM115 - read until the process ends
    line = frames.readline()
    if not line.endswith(b"\n"):
        return  # the helper ended before it had something to do
    supervisor = Supervisor(json.loads(line), frames)
    try:
        supervisor.run()
    except BaseException as error:
        write_json(
            os.path.join(supervisor.folder, "failure.json"),
            {"message": f"its supervisor failed: {type(error).__name__}: {error}"},
        )
        raise
