"""The Jupyter servers of fake VMs. Runs beside the fake, and ends with it.

Most of a server's start is the import of jupyter_server. So this program imports it once, and forks a server for each
line of JSON on its stdin: `{"arguments": [...], "environment": {...}, "folder": "...", "log": "..."}`. It answers with
the server's process id. Where there is no fork, the one line becomes the process itself.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import tempfile
import threading
import time
from typing import Any

# Modules that a server would import only when it starts.
LATE = (
    "jupyter_server.services.contents.largefilemanager",
    "jupyter_server.services.kernels.websocket",
    "jupyter_server.services.kernels.connection.channels",
    "jupyter_server.services.events.handlers",
    "jupyter_server.services.nbconvert.handlers",
    "jupyter_server.services.security.handlers",
    "jupyter_server.services.shutdown",
    "jupyter_server.nbconvert.handlers",
    "jupyter_server.view.handlers",
    "jupyter_server.files.handlers",
    "jupyter_server.services.api.handlers",
    "jupyter_server.kernelspecs.handlers",
    "jupyter_server.services.kernelspecs.handlers",
    "jupyter_server.services.sessions.handlers",
    "jupyter_server.services.contents.handlers",
    "jupyter_server.services.config.handlers",
    "nbconvert",
    "ipykernel.kernelspec",
    "jupyter_client.provisioning",
    "jupyter_server_terminals",
)


def main() -> None:
    # Not installed, as far as jsonschema can see: most of the import is a grammar that no server of a VM needs.
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
    import jupyter_server.serverapp

    for name in LATE:
        with contextlib.suppress(ImportError):  # another version; then it is imported late
            importlib.import_module(name)
    if hasattr(os, "fork"):
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are not waited for
    say("ready")
    for line in sys.stdin:
        order = json.loads(line)
        if not hasattr(os, "fork"):
            say(str(os.getpid()))
            become(order)
            jupyter_server.serverapp.ServerApp.launch_instance()
            return
        child = os.fork()
        if child == 0:
            parent = os.getppid()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            become(order)
            threading.Thread(target=end_with, args=(parent,), daemon=True).start()
            jupyter_server.serverapp.ServerApp.launch_instance()
            return
        say(str(child))


def say(text: str) -> None:
    """Answer, if the other end is still connected."""
    with contextlib.suppress(OSError):
        os.write(1, text.encode() + b"\n")


def become(order: dict[str, Any]) -> None:
    """Turn this process into the server that the order describes."""
    os.environ.clear()
    os.environ.update(order["environment"])
    tempfile.tempdir = None  # the new environment decides
    os.chdir(order["folder"])
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    sys.argv[1:] = order["arguments"]


def end_with(parent: int) -> None:
    """End with the parent, and so with the fake."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


if __name__ == "__main__":
    main()
