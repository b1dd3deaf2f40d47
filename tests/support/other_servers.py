"""Servers of other people's making, from an environment of their own: gateways.

`LECODER_CGPU_TEST_SERVERS` names its folder: a virtual environment with `servers-requirements.txt`, as `.ci/run` makes
one.
Without it, these tests are skipped.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.servers import end, free_port, wait_for_api

FOLDER = os.environ.get("LECODER_CGPU_TEST_SERVERS")
REASON = "LECODER_CGPU_TEST_SERVERS names no environment with the servers of other people"


def python() -> str:
    """The environment's interpreter; skips the test where there is none."""
    found = None if FOLDER is None else Path(FOLDER, "bin", "python")
    if found is None or not found.exists():
        pytest.skip(REASON)
    return str(found)


def environment(folder: Path) -> dict[str, str]:
    """The variables of a server whose home is `folder`."""
    assert FOLDER is not None
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LECODER_", "JUPYTER_", "PYTHON"))}
    path = f"{FOLDER}/bin:{FOLDER}/node_modules/.bin:{os.environ['PATH']}"
    return {**kept, "HOME": str(folder), "PATH": path, "IPYTHONDIR": str(folder / "ipython")}


@dataclass(frozen=True)
class Gateway:
    """A running Kernel Gateway, as it is by default: it lists nothing."""

    url: str
    token: str


@contextlib.contextmanager
def start_gateway(folder: Path, *options: str) -> Iterator[Gateway]:
    """Start a stock Kernel Gateway, and end it with its kernels afterwards."""
    port, token = free_port(), secrets.token_hex(16)
    command = [python(), "-m", "kernel_gateway", "--ip=127.0.0.1", f"--port={port}", *options]
    variables = {**environment(folder), "LECODER_CGPU_RESIDENT_HOME": str(folder / "resident"), "KG_AUTH_TOKEN": token}
    with (folder / "gateway.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}/"
    try:
        wait_for_api(process, f"{url}api?token={token}&", folder / "gateway.log")
        yield Gateway(url, token)
    finally:
        end(process)
