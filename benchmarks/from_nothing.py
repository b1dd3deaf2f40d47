"""The least that a first run takes: start a stock Jupyter server, then a kernel there, and run one piece of code.

`python -m benchmarks.from_nothing FOLDER CODE`: a floor to measure by. It polls for the server's answer, and ends it.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request

from . import floor

TOKEN = "floor"
POLL = 0.01  # seconds


def main(folder: str, code: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}", f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder}",
    ]  # fmt: skip
    server = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "HOME": folder}
    )
    try:
        url = f"http://127.0.0.1:{port}/"
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(asked(url + "api")) as answer:
                answer.read()
                break
            time.sleep(POLL)
        with urllib.request.urlopen(asked(url + "api/kernels", b"{}")) as answer:
            kernel = json.load(answer)["id"]
        floor.main(f"ws://127.0.0.1:{port}/api/kernels/{kernel}/channels", TOKEN, code)
    finally:
        server.terminate()
        server.wait()


def asked(url: str, body: bytes | None = None) -> urllib.request.Request:
    """A request with the token."""
    return urllib.request.Request(url, body, {"Authorization": f"token {TOKEN}"})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
