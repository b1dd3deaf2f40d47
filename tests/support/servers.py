"""Real Jupyter servers on loopback for tests, stock but for their address and token."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

START_TIMEOUT = 60

# jupyter_server as it starts itself, without a grammar that takes most of its import: see system/quick_imports.py.
STOCK = "import sys; sys.modules['rfc3987_syntax'] = None; from jupyter_server.serverapp import main; main()"


@dataclass(frozen=True)
class JupyterServer:
    """A running server; `process` is there so that a test can kill it."""

    url: str
    token: str
    root: Path
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def start_server(
    folder: Path, *options: str, python: str = sys.executable, base_url: str = "/", tls: bool = False
) -> Iterator[JupyterServer]:
    """Start a server of the given interpreter's environment and end it, with its kernels, afterwards."""
    root = folder / "root"
    root.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(16)
    port = free_port()
    # Nor PYTEST: ipykernel shows what child processes print but in its own tests.
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LECODER_", "JUPYTER_", "PYTEST"))}
    environment = {
        **kept,
        "HOME": str(folder),
        "JUPYTER_TOKEN": token,
        "IPYTHONDIR": str(folder / "ipython"),
        "LECODER_CGPU_RESIDENT_HOME": str(folder / "resident"),
    }
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [
                python,
                "-c",
                STOCK,
                "--ip=127.0.0.1",
                f"--port={port}",
                "--ServerApp.port_retries=0",
                "--no-browser",
                "--allow-root",
                f"--ServerApp.base_url={base_url}",
                *options,
            ],
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    url = f"http{'s' if tls else ''}://127.0.0.1:{port}{base_url.rstrip('/')}/"
    try:
        wait_for_api(process, url, folder / "server.log")
        yield JupyterServer(url, token, root, process)
    finally:
        end(process)


def wait_for_api(process: subprocess.Popen[bytes], url: str, log: Path | None = None) -> None:
    """Return when the server answers; `log` is shown if it never does."""
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        # Whether its certificate is any good is for the test to find out.
        unchecked = ssl._create_unverified_context()
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(url if "?" in url else url + "api", timeout=5, context=unchecked),
        ):
            return
        time.sleep(0.05)
    raise AssertionError(f"the server did not start:\n{log.read_text() if log else process.poll()}")


def end(process: subprocess.Popen[bytes]) -> None:
    """End a server and the kernels that it started."""
    children = _descendants(process.pid)
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in children:
        with contextlib.suppress(OSError):
            os.kill(pid, 9)


def _descendants(pid: int) -> list[int]:
    """Every process below `pid`, as far as this system tells."""
    found = []
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += [int(child), *_descendants(int(child))]
    return found


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
