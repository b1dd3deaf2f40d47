"""The helper: answers calls in a kernel of its own, and pushes news of the runs that clients follow.

Runs on the runtime (Python 3.8 and newer, standard library only); `helper/bootstrap.py` sends it there together with
the other parts. A call is an expression in an `execute_request`. Its answer is a mimebundle in the reply on the shell
channel, which servers never drop (protocol J1, J10). Calls are served one after the other, so none may wait.

Pushes are messages of type `lecoder_update` on iopub. They may be dropped on the way. So each push tells offsets, and a
client reads with a call what it has missed.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import platform
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

from . import aside, environment, executor, files, hub_activity, output_order, progress, recorders, report, runs, usage
from . import kernel_activity as activity
from . import lease_guard as lease
from .kernel_children import left_by
from .processes import signal_name
from .programs import Programs
from .recording import preview
from .runs import Failure, Run, signal_number
from .state_files import note_signal
from .store import RunStore

MIME = "application/vnd.lecoder-cgpu+json"
UPDATE = "lecoder_update"
PACE = 0.01  # seconds between pushes: servers drop what comes faster than 1000 messages a second
BYTES_PER_SECOND = 1 << 20  # of output inside pushes; a client behind a slow line fetches the rest at its own pace
READ_LIMIT = 4 << 20
_NO_CALLS = ("serve", "files", "aside", "takes_files", "active")
KEPT_ANSWERS = 4  # that clients fetch in pieces; each asks for one at a time
FOREIGN_POLL = 0.05  # seconds between looks at runs whose supervisor was started by another helper

# calls that count as use of the runtime
_WORK = ("start", "execute", "stdin", "signal", "read", "use", "transfer", "fetch")

if TYPE_CHECKING:
    from collections.abc import Callable

    Publish = Callable[[str, dict[str, Any]], None]


class Answer:
    """The value of a call's expression, shown by IPython as our own media type."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer

    def __repr__(self) -> str:
        return "<lecoder-cgpu>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {MIME: self.answer}


def default_home() -> str:
    """The folder of this tool on the runtime."""
    chosen = os.environ.get("LECODER_CGPU_RESIDENT_HOME")
    if chosen:
        return os.path.abspath(os.path.expanduser(chosen))
    state = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(state, "lecoder-cgpu")


class Service:
    """Serves the calls, whose names are those of its public methods.

    Args:
        publish: sends a message (type, content) to all clients; called from a thread.
        version: the hash of the sources, by which clients know this helper.
        sources: the text of every part; some become processes of their own.
        connections: the folder of Jupyter's connection files.
    """

    def __init__(
        self,
        publish: Publish,
        version: str,
        sources: dict[str, str],
        home: str | None = None,
        cwd: str | None = None,
        connections: str | None = None,
    ) -> None:
        self._publish = publish
        self._version = version
        self._home = home or default_home()
        self._cwd = cwd or os.getcwd()
        os.makedirs(self._home, mode=0o700, exist_ok=True)
        self._wake = threading.Event()
        programs = Programs(self._home, sources)
        self._store = RunStore(self._home, self._cwd, programs, environment.base(self._home), self._wake.set)
        self._lease = lease.RuntimeLease(self._home, programs)
        self._reporter = report.Reporter(self._cwd)
        self._connections = connections
        self._recorders = recorders.Recorders(
            self._home, self._store.folder, connections, self._lease.active, self._store.tidy_soon
        )
        self.aside = aside.Aside(programs.command("aside_server"), self._cwd)
        self.files = files.Files(self._cwd, self.aside)
        self._pieces: dict[str, bytearray] = {}  # requests that come in pieces
        self._fetched: dict[str, bytes] = {}  # answers that are fetched in pieces
        self.takes_files = False  # the kernel passes messages about files on
        self._hub = hub_activity.HubActivity(self._works)
        activity.keep(lambda: publish(UPDATE, {"v": 1, "runs": []}), self._works, lambda: self._hub.wanted)
        self._budget = float(BYTES_PER_SECOND)
        self._budget_at = time.monotonic()
        threading.Thread(target=self._push, daemon=True).start()

    def serve(self, text: str) -> Answer:
        """Answer one call, given as JSON."""
        try:
            request = json.loads(text)
            method = str(request.pop("method", ""))
            if method.startswith("_") or method in _NO_CALLS or not hasattr(self, method):
                raise Failure("NoSuchCall", f"this helper has no call {method!r}")
            if method in _WORK:
                self._lease.active()
            answer = {"ok": True, **getattr(self, method)(**request)}
        except Failure as failure:
            answer = {"ok": False, "error": {"name": failure.name, "message": str(failure)}}
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            message = f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})"
            answer = {"ok": False, "error": {"name": "HelperFailed", "message": message}}
        return Answer(answer)

    def active(self) -> None:
        """Note that the runtime is in use."""
        self._lease.active()

    # --- calls ---

    def hello(self) -> dict[str, Any]:
        return {
            "hash": self._version,
            "pid": os.getpid(),
            "python": platform.python_version(),
            "executable": sys.executable,
            "cwd": self._cwd,
            "home": self._home,
            "connections": self._connections,
            "platform": sys.platform,
            "hasBash": os.path.basename(self._store.shell) == "bash",
            "takesFiles": self.takes_files,
        }

    def start(self, follow: bool = True, inline: int = runs.INLINE, **request: Any) -> dict[str, Any]:
        """Start a run, or find the run that has this id already."""
        run = self._store.start(request)
        run.inline = inline
        return {"update": self._update(run, (0, 0, 0), follow)}

    def execute(self, kernel: str, code: str, **request: Any) -> dict[str, Any]:
        """Have a kernel execute code when its turn comes, or find the run that has this id already."""
        self._recorders.record(kernel)
        run, fresh = self._store.note_kernel_job({**request, "kernel": kernel, "code": preview(code)})
        if fresh:
            limits = request.get("timeout"), request.get("idleTimeout")
            around = request.get("around") or ()
            self._recorders.execute(kernel, run.id, run.folder, executor.KernelCode(code, *around), limits)
        return {"runs": [self._described(run)]}

    def follow(
        self, run: str, stdout: int = 0, stderr: int = 0, order: int = 0, inline: int = runs.INLINE
    ) -> dict[str, Any]:
        """Register for pushes during the next minute, and return what is new behind the given offsets, of each stream
        at most `inline` bytes."""
        found = self._store.find(run)
        found.inline = inline
        return {"update": self._update(found, (stdout, stderr, order), True)}

    def state(self, run: str, follow: bool = False) -> dict[str, Any]:
        found = self._store.find(run)
        have = found.size("stdout"), found.size("stderr"), found.size(output_order.FILE)
        return {"update": self._update(found, have, follow)}

    def read(self, run: str, stream: str, offset: int, limit: int, shown: bool = False) -> dict[str, Any]:
        """A piece of a stream; `final` when nothing will follow it. With `shown`, as messages about the run show it."""
        found = self._store.find(run)
        if stream not in runs.FILES:
            raise Failure("BadRequest", f"{stream!r} is no stream")
        found.read_at = time.monotonic()
        ended = found.state()["state"] in runs.ENDED
        data = found.read(stream, offset, min(limit, READ_LIMIT))
        end = offset + len(data)
        size = max(found.size(stream), end)
        if shown:
            data = found.shown(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        return {
            "offset": offset,
            "data": base64.b64encode(data).decode(),
            "size": size,
            "final": ended and end == size,
        }

    def stdin(self, run: str, offset: int | None = None, data: str = "", eof: bool = False) -> dict[str, Any]:
        """Pass input to a run. `offset` is the number of input bytes before it: input that came already is skipped."""
        found = self._store.find(run)
        if found.feeder is None or found.process is None:
            reason = "was started without stdin" if found.process else "can get no input: the helper was restarted"
            raise Failure("NoStdin", f"run {run!r} {reason}")
        return {"buffered": found.feeder.put(offset, base64.b64decode(data), eof)}

    def signal(self, run: str, signal: str | int, nonce: str | None = None, by: str = "kill") -> dict[str, Any]:
        """Signal a run's process group, or the kernel that executes it; the same `nonce` a second time does nothing."""
        found = self._store.find(run)
        number = signal_number(signal)
        if nonce is not None:
            if nonce in found.signals_seen:
                return {"sent": True}
            found.signals_seen.add(nonce)
        kernel = (found.document("spec.json") or {}).get("kernel")
        if kernel is None:
            sent = found.signal(number, by)
        else:
            sent = self._recorders.signal(kernel, run, number)
            if sent:
                note_signal(found.folder, signal_name(number), by)
        found.changed = found.changed or sent
        return {"sent": sent}

    def kernel_children(self, run: str, signal: str | int | None = None) -> dict[str, Any]:
        """What code in a kernel has started and left alive; `signal` is for what has left the kernel's session."""
        return left_by(self._store.find(run).document("spec.json") or {}, signal)

    def runs(self, limit: int = 50, jobs: bool = False) -> dict[str, Any]:
        """The newest runs, and every older one of which something lives; with `jobs`, of those without a client."""
        return {"runs": [self._described(run) for run in self._store.newest(limit, jobs=jobs)]}

    def show(self, run: str) -> dict[str, Any]:
        """One run, with its command and how much output there is."""
        return {"runs": [self._described(self._store.find(run))]}

    @staticmethod
    def _described(run: Run) -> dict[str, Any]:
        spec = run.document("spec.json") or {}
        described = {**run.state(), **{stream + "Size": run.size(stream) for stream in runs.STREAMS}}
        for name in ("name", "shell", "argv", "cwd", "pull", "code", "kernel", "timeout", "idleTimeout"):
            described[name] = spec.get(name)
        described["name"] = (run.document("name.json") or spec).get("name")
        described["detached"] = run.is_job
        for name in ("shell", "argv", "cwd"):
            described[name] = runs.as_text(described[name])
        if described["state"] == "running":
            described["usage"] = run.document("usage.json")
        described["progress"] = progress.of(run)
        return described

    def report(self) -> dict[str, Any]:
        return {"report": self._reporter.report()}

    def record(self, kernel: str, settle: bool = False) -> dict[str, Any]:
        """Record what a kernel publishes for our runs, from now on."""
        return {"seconds": self._recorders.record(kernel, settle)}

    def conclude(self, kernel: str, run: str, reply: dict[str, Any]) -> dict[str, Any]:
        self._recorders.conclude(kernel, run, reply)
        return {}

    def use(self) -> dict[str, Any]:
        """Note that the runtime is in use in a way that its helper does not see: a tunnel, a terminal, a transfer."""
        return {}

    def transfer(
        self, header: str, key: str, most: int, data: str | None = None, offset: int = 0, more: bool = False
    ) -> dict[str, Any]:
        """A request about files, for a client whose binary or large frames do not arrive (protocol C35).

        Content of more than `most` bytes comes in pieces under one `key`; such an answer waits for `fetch`.
        """
        parts = [header.encode()]
        if data is not None:
            content = self._pieces.setdefault(key, bytearray())
            del content[offset:]
            content += base64.b64decode(data)
            parts.append(bytes(content))
        if more:
            return {}
        self._pieces.pop(key, None)
        answer = [bytes(part) for part in self.files.serve(*(memoryview(part) for part in parts))]
        if sum(map(len, answer)) <= most:
            return {"buffers": [base64.b64encode(part).decode() for part in answer]}
        self._fetched[key] = b"".join(answer)
        for old in list(self._fetched)[:-KEPT_ANSWERS]:
            del self._fetched[old]
        return {"sizes": [len(part) for part in answer]}

    def fetch(self, key: str, offset: int, size: int) -> dict[str, Any]:
        """A piece of an answer that was too large for `transfer`."""
        if key not in self._fetched:
            raise Failure("HelperFailed", "an answer about files is not there any more; repeat the same command")
        return {"data": base64.b64encode(self._fetched[key][offset : offset + size]).decode()}

    def forget(self, run: str) -> dict[str, Any]:
        """Remove a run that has ended, with its output."""
        self._store.forget(self._store.find(run))
        return {}

    def lease(self, **wanted: Any) -> dict[str, Any]:
        """The lease of this runtime, after it was changed as the arguments say."""
        return {"lease": self._lease.change(wanted) if wanted else self._lease.read()}

    def keep_awake(self, wanted: bool) -> dict[str, Any]:
        """Whether a JupyterHub is told of work."""
        self._hub.wanted = wanted
        return {}

    def _works(self) -> bool:
        """Whether a run or a recorded kernel works now, or what a run left behind."""
        if self._recorders.busy or any(run.state()["state"] in ("starting", "running") for run in self._store.all()):
            return True
        return bool(self._lease.read()["background"])

    # --- updates ---

    def _update(self, run: Run, have: tuple[int, int, int], follow: bool) -> dict[str, Any]:
        """The news for a client that has stdout, stderr and their order up to these offsets."""
        state = run.state()  # first: the sizes that belong to an ended state are then complete
        update: dict[str, Any] = {"run": run.id, "state": state, "memory": run.memory()}
        for stream, offset in zip((*runs.STREAMS, output_order.FILE), have):  # noqa: B905 - Python 3.8
            if stream in runs.STREAMS or os.path.exists(run.path(stream)):
                update[stream] = run.chunk(stream, offset)
        if follow:
            if not run.followed:
                for stream in run.pushed:
                    run.pushed[stream] = update.get(stream, {"size": 0})["size"]
                run.told = state
            run.followed_until = time.monotonic() + runs.FOLLOW_FOR
            run.changed = True
            self._wake.set()
        return update

    def _push(self) -> None:
        """Push news to followers as soon as there are any, in one message for all runs."""
        while True:
            followed = self._store.followed()
            foreign = any(run.process is None for run in followed)
            self._wake.wait(FOREIGN_POLL if foreign else None)
            self._wake.clear()
            updates = []
            for run in self._store.followed():
                if run.changed or run.process is None:
                    run.changed = False
                    with contextlib.suppress(OSError, ValueError):  # the run is being removed; go on with the others
                        update = self._news(run)
                        if update is not None:
                            updates.append(update)
            if updates:
                with contextlib.suppress(Exception):  # the kernel is closing; clients will ask
                    self._publish(UPDATE, {"v": 1, "runs": updates})
            if updates or not followed:
                time.sleep(PACE)

    def _news(self, run: Run) -> dict[str, Any] | None:
        """What was not pushed yet; None when there is nothing."""
        state, memory = run.state(), run.memory()
        full = memory is not None and memory > usage.FULL and memory != run.told_memory
        update: dict[str, Any] = {"memory": memory} if full else {}
        for stream in runs.STREAMS:
            offset = run.pushed[stream]
            chunk = run.chunk(stream, offset, int(self._room()))
            if chunk["size"] > offset:
                self._budget -= len(chunk.get("data", ""))
                run.pushed[stream] = offset + len(base64.b64decode(chunk["data"])) if "data" in chunk else chunk["size"]
                update[stream] = chunk
        if update and os.path.exists(run.path(output_order.FILE)):  # with all output, and behind it: it may tell more
            offset = run.pushed[output_order.FILE]
            chunk = update[output_order.FILE] = run.chunk(output_order.FILE, offset)
            run.pushed[output_order.FILE] = chunk["size"]
        if state != run.told:
            run.told = state
            update["state"] = state
            for stream in runs.STREAMS:  # an earlier push may have been dropped: the last one tells all there is
                update.setdefault(stream, {"offset": run.pushed[stream], "size": run.pushed[stream]})
            if state["state"] in runs.ENDED:
                run.followed_until = 0.0  # a client that misses this push will ask
        run.told_memory = memory
        return {"run": run.id, "memory": memory, **update} if update else None

    def _room(self) -> float:
        now = time.monotonic()
        self._budget = min(self._budget + (now - self._budget_at) * BYTES_PER_SECOND, float(BYTES_PER_SECOND))
        self._budget_at = now
        return self._budget * 3 / 4  # base64


def connection_folder() -> str | None:
    """Where Jupyter keeps the connection files of this machine's kernels, ours among them."""
    try:
        from ipykernel.connect import get_connection_file

        return os.path.dirname(get_connection_file())
    except Exception:  # an unusual kernel; then there is nothing to record
        return None


def kernel_publisher() -> Publish:
    """Publishes on the iopub socket of the kernel that this is executed in; its socket is safe to use in threads."""
    from IPython import get_ipython  # type: ignore[import-not-found,unused-ignore,attr-defined]

    # Only we use this kernel: the thread that answers must not wait 5 ms for the thread that pushes.
    sys.setswitchinterval(0.0005)
    kernel = get_ipython().kernel  # type: ignore[no-untyped-call,unused-ignore]

    def publish(kind: str, content: dict[str, Any]) -> None:
        kernel.session.send(kernel.iopub_socket, kind, content, parent={}, ident=kind.encode())

    return publish


def take_files(name: str, served: files.Files, active: Callable[[], None]) -> bool:
    """Have this kernel pass on messages about files, which come and go with binary buffers, or as text in the place
    of these; False where it cannot.

    Args:
        active: called for each.
    """
    try:
        from IPython import get_ipython  # type: ignore[import-not-found,unused-ignore,attr-defined]

        kernel = get_ipython().kernel  # type: ignore[no-untyped-call,unused-ignore]
        kind = name + "_files"

        def handle(stream: Any, ident: Any, parent: Any) -> None:
            active()
            plain = parent["content"].get("parts")  # from a server that passes on no binary frames
            parts = [memoryview(part) for part in parent["buffers"] or map(base64.b64decode, plain)]
            answer = served.serve(*parts[:2])
            content = {} if plain is None else {"parts": [base64.b64encode(part).decode() for part in answer]}
            buffers = answer if plain is None else None
            kernel.session.send(stream, kind + "_reply", content, parent=parent, ident=ident, buffers=buffers)

        kernel.shell_handlers[kind] = handle  # protocol J11
    except Exception:  # an unusual kernel; the client then does without
        return False
    return True
