"""Backend `local`: a jupyter_server of our own on 127.0.0.1, a detached child that later commands find again.

Each session has a folder under `state/local/`, with the record of its server (`server.json`, which holds the token),
its log, its runtime files and, unless another one was asked for, its working folder. A server is recognised by its
process id together with the moment at which that process was created, so that neither a reboot nor a reused id
deceives us.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from .. import config, errors
from ..jupyter.endpoint import Endpoint
from ..store.session_store import Record, new_record
from ..system import atomic_files, logs, process_identity, waits

if TYPE_CHECKING:
    import subprocess
from . import local_owner, protocol
from .protocol import AcquireOptions, Released, RuntimeRequest

START_TIMEOUT = 180.0  # seconds: a machine on which very much starts at once is slow, and one that ends is noticed
STOP_TIMEOUT = 5.0  # seconds that a server has to end in order
POLL = 0.02
HINT = 'pip install "lecoder-cgpu[local]"'

# Settings of the child. Nothing is left out of its output, however fast that comes: it is our own machine.
OPTIONS = (
    "--ServerApp.ip=127.0.0.1",
    "--ServerApp.port=0",
    "--ServerApp.open_browser=False",
    "--ServerApp.allow_root=True",
    "--ServerApp.jpserver_extensions={'jupyter_server_terminals': True}",
    "--ZMQChannelsWebsocketConnection.limit_rate=False",
    "--ServerApp.websocket_ping_interval=0",
    "--ServerApp.max_body_size=1073741824",
    "--ServerApp.tornado_settings={'websocket_max_message_size': 1073741824}",
    "--FileContentsManager.delete_to_trash=False",
)


class Server(Struct, frozen=True, kw_only=True):
    """A running server. While it starts, `url` is empty. `token` is a secret."""

    pid: int
    identity: str
    root: str
    token: str
    url: str = ""

    def __repr__(self) -> str:
        return f"Server(pid={self.pid}, url={self.url!r})"


class Backend(protocol.Backend):
    """Local runtimes, one folder each."""

    name = "local"
    label = "Local"
    is_here = True
    takes_folder = True
    extra = "local"

    def __init__(self, settings: config.Config, state_dir: Path) -> None:
        self._settings = settings
        self._folder = state_dir / "local"

    def create(self, name: str, wants: RuntimeRequest) -> Record:
        record = new_record(name, "local", "Local runtime", f"local:{name}")
        record.root = self._settings.get("localRoot").value
        return record

    def obtain(self, record: Record, terms: AcquireOptions) -> tuple[Endpoint, bool]:
        order = local_owner.order(record, self._folder.parent, config.child_environment(), self._settings.profile.name)
        root = Path(record.root).expanduser() if record.root else None
        server, fresh = ensure(self._folder / record.id, root, order)
        return endpoint(server), fresh

    def find(self, record: Record) -> Endpoint | None:
        server = find(self._folder / record.id)
        return endpoint(server) if server is not None and server.url else None

    def known_gone(self, record: Record) -> bool:
        return self.find(record) is None

    def is_gone(self, record: Record) -> bool:
        return self.find(record) is None

    def release(self, record: Record) -> Released:
        import shutil

        folder = self._folder / record.id
        if not folder.exists():
            return "nothing"
        ended = stop(folder)
        if record.owner is not None or not (folder / "work").exists() or not any((folder / "work").iterdir()):
            shutil.rmtree(folder, ignore_errors=True)  # what the user left in the working folder is kept
        return "server" if ended else "nothing"


def endpoint(server: Server) -> Endpoint:
    """How to reach the server."""
    return Endpoint(url=server.url, token=server.token)


def check_installed() -> None:
    """Raise an error that names the extra if jupyter_server or a kernel is missing here.

    Raises:
        errors.ConfigError
    """
    import importlib.util

    missing = [name for name in ("jupyter_server", "ipykernel") if importlib.util.find_spec(name) is None]
    if missing:
        raise errors.MissingExtra(
            f"the local backend needs {' and '.join(missing)}, which the extra 'local' installs",
            hint=HINT,
        )


def find(folder: Path) -> Server | None:
    """The server of this folder if its very process is alive; None for a stale record. Starts and asks nothing."""
    path = folder / "server.json"
    content = atomic_files.read(path)
    if content is None:
        return None
    try:
        server = atomic_files.decode(content, Server)
    except atomic_files.Damaged:
        kept = atomic_files.set_aside(path)
        logs.current().warn("LOCAL", f"a damaged record of a local server was kept as {kept.name}")
        return None
    return server if process_identity.is_same(server.pid, server.identity) else None


def ensure(folder: Path, root: Path | None = None, order: bytes = b"\n") -> tuple[Server, bool]:
    """The folder's server, started if there is none, and whether it was. Many processes at once start one server.

    Raises:
        errors.ConfigError: the extra is missing, or the folder is unusable. errors.UsageError: there is no such root.
        errors.CapacityError: the server does not start.
    """
    server = find(folder)
    if server is not None and server.url:
        return server, False
    check_installed()
    if root is not None and not root.is_dir():
        raise errors.UsageError(f"{root} is not a folder", hint=f"mkdir -p {root}, or give another folder to --root")
    with atomic_files.lock(folder / "server.json", START_TIMEOUT + 10, "another command, which starts the server"):
        server = find(folder)
        if server is not None and server.url:
            return server, False
        if server is not None:  # the process that started it was killed before it was ready
            _end(server)
        return start(folder, root, order), True


def start(folder: Path, root: Path | None = None, order: bytes = b"\n") -> Server:
    """Start a server and wait until it answers; the caller holds the lock. A failed start leaves no process behind.

    Args:
        order: the line for `local_owner.begin`.

    Raises:
        errors.CapacityError: it does not start; the end of its log is in the message.
    """
    import shutil

    atomic_files.ensure_dir(folder)
    work = root or folder / "work"
    if root is None:
        atomic_files.ensure_dir(work)
    token = os.urandom(24).hex()
    runtime = folder / "runtime"
    shutil.rmtree(runtime, ignore_errors=True)
    atomic_files.ensure_dir(runtime)
    process = _spawn(folder, work, token)
    server = None
    try:
        server = Server(
            pid=process.pid, identity=process_identity.of(process.pid) or "gone", root=str(work), token=token
        )
        _record(folder, server)  # before it may begin, so that a start that is killed leaves no orphan
        _let_begin(process, order)
        with waits.on("the local server, which starts"):
            url = _wait_until_ready(process, runtime, folder / "server.log", token)
        ready = msgspec.structs.replace(server, url=url)
        _record(folder, ready)
        process.returncode = 0  # it is not ours to wait for; without this, Python warns that it still runs
        return ready
    except BaseException:
        _end(server) if server is not None else process.kill()
        process.wait()
        (folder / "server.json").unlink(missing_ok=True)
        raise


def _spawn(folder: Path, work: Path, token: str) -> subprocess.Popen[bytes]:
    import subprocess

    log = os.open(folder / "server.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    # 0x208: DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP, names that only Windows has
    detached: Any = {"creationflags": 0x208} if sys.platform == "win32" else {"start_new_session": True}
    try:
        return subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.local_server", *OPTIONS, f"--ServerApp.root_dir={work}"],
            cwd=work,
            env=_environment(folder, token),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            **detached,
        )
    finally:
        os.close(log)


def _let_begin(process: subprocess.Popen[bytes], order: bytes) -> None:
    """Let the child begin, which waits until it is recorded; one whose starter died ends by itself."""
    assert process.stdin is not None
    with contextlib.suppress(OSError), process.stdin as way:  # one that has ended already is told of later
        way.write(order)


def _environment(folder: Path, token: str) -> dict[str, str]:
    """The user's environment, less our own secrets and Jupyter's settings, which are not for this server."""
    environment = {
        key: value
        for key, value in config.child_environment().items()
        if not key.startswith(("JUPYTER_", "LECODER_CGPU_", "JPY_"))
    }
    return environment | {
        "JUPYTER_TOKEN": token,
        "JUPYTER_NO_CONFIG": "1",
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTER_PLATFORM_DIRS": "1",
        "IPYTHONDIR": str(folder / "ipython"),
        "LECODER_CGPU_RESIDENT_HOME": str(folder / "resident"),
    }


def _wait_until_ready(process: subprocess.Popen[bytes], runtime: Path, log: Path, token: str) -> str:
    """The server's address, once it listens. The server writes it down itself, with the port that it was given."""
    import socket

    info = runtime / f"jpserver-{process.pid}.json"
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise _not_started(f"it ended with status {process.returncode}", log, token)
        with contextlib.suppress(OSError, msgspec.DecodeError, KeyError):
            content = msgspec.json.decode(info.read_bytes())
            with socket.create_connection(("127.0.0.1", content["port"]), timeout=1):
                return f"http://127.0.0.1:{content['port']}{content.get('base_url', '/')}"
        time.sleep(POLL)
    raise _not_started(f"it was not ready after {START_TIMEOUT:g} s", log, token)


def _not_started(reason: str, log: Path, token: str) -> errors.CapacityError:
    with contextlib.suppress(OSError):
        lines = log.read_text("utf-8", "replace").replace(token, "***").strip().splitlines()
        reason += ": " + " | ".join(lines[-3:]) if lines else ""
    return errors.CapacityError(
        f"the local server did not start: {reason}", name="LocalStartFailed", retryable=False, hint=f"see {log}"
    )


def _record(folder: Path, server: Server) -> None:
    atomic_files.write_atomic(folder / "server.json", msgspec.json.encode(server))


def stop(folder: Path) -> bool:
    """End the folder's server with all its kernels and runs, and forget it; True when there was one."""
    from ..guest import run_processes
    from ..guest.limits import SAVING

    with atomic_files.lock(folder / "server.json"):
        server = find(folder)
        # Runs first: they get SIGTERM and the time to save their work, and a run outlives its server.
        run_processes.end_all(str(folder / "resident" / "runs"), SAVING, "close")
        if server is not None:
            _end(server)
        (folder / "server.json").unlink(missing_ok=True)
    return server is not None


def _end(server: Server) -> None:
    """End the server's process and every process that it started."""
    below = list(_descendants(server.pid))
    _signal(server.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT
    while process_identity.is_same(server.pid, server.identity) and time.monotonic() < deadline:
        time.sleep(POLL)
    if process_identity.is_same(server.pid, server.identity):
        _signal(server.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    for pid, identity in below:
        if process_identity.is_same(pid, identity):
            _signal(pid, getattr(signal, "SIGKILL", signal.SIGTERM))


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def _descendants(pid: int) -> Iterator[tuple[int, str]]:
    """The processes that the server started: kernels, and what runs in them."""
    for child in process_identity.children(pid):
        identity = process_identity.of(child)
        if identity is not None:
            yield child, identity
            yield from _descendants(child)
