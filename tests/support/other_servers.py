"""Servers of other people's making, from an environment of their own: gateways and JupyterHub.

`LECODER_CGPU_TEST_SERVERS` names its folder: a virtual environment with `servers-requirements.txt`, in which
`npm install --prefix FOLDER configurable-http-proxy` was done. `.ci/run` makes one. Without it, tests are skipped.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    """A running Kernel Gateway, as it is by default: it lists nothing. `ends`: the machine of a kernel ends with it."""

    url: str
    token: str
    ends: bool = False


def documented(name: str, folder: Path, replace: dict[str, str]) -> str:
    """The commands of a block of docs/beyond-one-machine.md, less those that install, for a shell in `folder`."""
    page = (Path(__file__).parents[2] / "docs" / "beyond-one-machine.md").read_text("utf-8")
    found = re.search(rf"<!-- {name} -->\n```bash\n(.*?)```", page, re.DOTALL)
    assert found is not None, f"the page has no block {name}"
    assert FOLDER is not None
    (folder / name).symlink_to(FOLDER)
    lines = [line for line in found[1].splitlines() if " install " not in line]
    for old, new in replace.items():
        assert any(old in line for line in lines), f"{old} is not in the block {name}"
        lines = [line.replace(old, new) for line in lines]
    return "\n".join([*lines[:-1], f"exec env {lines[-1]}"])


def start(commands: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start a server with commands for a shell."""
    variables = {**environment(folder), "LECODER_CGPU_RESIDENT_HOME": str(folder / "resident")}
    with (folder / "server.log").open("wb") as log:
        return subprocess.Popen(
            ["bash", "-euc", commands],
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


# Starts a kernel on a machine of its own: with files, processes, ports and a host name that no other kernel has. Where
# that is not allowed, it has at least folders of its own. Its connection file is named as Enterprise Gateway does it.
_LAUNCH = """
import os, shutil, subprocess, sys
machine, allowed, connection = sys.argv[1:4]
kernel = os.path.basename(connection)[len("kernel-"):-len(".json")]
if allowed == "yes":
    subprocess.run(["mount", "-t", "tmpfs", "none", machine], check=True)
    subprocess.run(["hostname", "node-" + kernel[:8]], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], capture_output=True)
else:
    machine = os.path.join(machine, kernel)  # which stays when the kernel is restarted
home, temporary, runtime = (os.path.join(machine, part) for part in ("home", "tmp", "runtime"))
for path in (home, temporary, runtime):
    os.makedirs(path, exist_ok=True)
own = shutil.copy(connection, os.path.join(runtime, kernel + "_a1.json"))
os.environ.update(HOME=home, TMPDIR=temporary, JUPYTER_RUNTIME_DIR=runtime, IPYTHONDIR=os.path.join(home, ".ipython"))
for name in ("LECODER_CGPU_RESIDENT_HOME", "JPY_PARENT_PID"):
    os.environ.pop(name, None)
os.chdir(home)
os.execv(sys.executable, [sys.executable, "-m", "ipykernel_launcher", "-f", own])
"""
_APART = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts", "--net", "--ipc"]


def _prepare_apart(folder: Path, ends: bool) -> tuple[str, bool]:
    """Have kernels started on machines of their own; returns the options of the gateway for that, and whether a machine
    ends with its kernel's process, if that is wanted."""
    machine, spec = folder / "machine", folder / "share" / "kernels" / "python3"
    machine.mkdir()
    spec.mkdir(parents=True)
    (folder / "launch.py").write_text(_LAUNCH)
    allowed = ends and shutil.which("unshare") is not None
    allowed = allowed and not subprocess.run([*_APART, "true"], capture_output=True).returncode
    command = [python(), str(folder / "launch.py"), str(machine), "yes" if allowed else "no", "{connection_file}"]
    command = [*_APART, *command] if allowed else command
    (spec / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "own", "language": "python"}))
    return "--KernelManager.transport=ipc --JupyterWebsocketPersonality.list_kernels=True", allowed


@contextlib.contextmanager
def start_gateway(folder: Path, *, apart: bool = False, ends: bool = True) -> Iterator[Gateway]:
    """Start a stock Kernel Gateway as the documentation does, and end it with its kernels afterwards.

    Args:
        apart: each kernel has a machine of its own, and the gateway lists them. ends: see `_prepare_apart`.
    """
    python()
    port, token = free_port(), secrets.token_hex(16)
    commands = documented("gateway", folder, {"8888": str(port), "=secret": f"={token}"})
    if apart:
        options, ends = _prepare_apart(
            folder, ends
        )  # a short folder, because paths of sockets have a hundred characters
        commands = f"export JUPYTER_PATH={folder}/share JUPYTER_RUNTIME_DIR={folder}/r\n{commands} {options}"
    process = start(commands, folder)
    url = f"http://127.0.0.1:{port}/"
    try:
        wait_for_api(process, f"{url}api?token={token}&", folder / "server.log")
        yield Gateway(url, token, apart and ends)
    finally:
        end(process)


@dataclass(frozen=True)
class Hub:
    """A running JupyterHub. `token` may do everything; `token_for` makes those of users."""

    url: str
    token: str
    folder: Path

    def call(self, method: str, path: str, body: object = None) -> Any:
        """One call of its REST API with every right."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(f"{self.url}hub/api/{path}", data=data, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def token_for(self, user: str, *scopes: str) -> str:
        """A token of that user, who is made if need be; with the user's own rights when no scopes are given."""
        with contextlib.suppress(urllib.error.HTTPError):  # the user is there already
            self.call("POST", f"users/{user}")
        wanted = list(scopes) or ["self"]
        made: str = self.call("POST", f"users/{user}/tokens", {"scopes": wanted})["token"]
        return made

    def servers(self, user: str) -> dict[str, Any]:
        """The user's servers that run or are being started, by name."""
        found: dict[str, Any] = self.call("GET", f"users/{user}")["servers"]
        return found


@contextlib.contextmanager
def start_hub(folder: Path) -> Iterator[Hub]:
    """Start a real JupyterHub with its proxy and its culler, and end it with its servers afterwards."""
    interpreter, token = python(), secrets.token_hex(16)
    ports = {name: str(free_port()) for name in ("HUB_PORT", "HUB_INTERNAL_PORT", "HUB_PROXY_PORT")}
    variables = {**environment(folder), "HUB_FOLDER": str(folder), "HUB_TOKEN": token, "HUB_CULL": "120", **ports}
    config = Path(__file__).with_name("hub_config.py")
    if not Path(str(FOLDER), "node_modules", ".bin", "configurable-http-proxy").exists():
        pytest.skip(
            "configurable-http-proxy is not installed there: npm install --prefix FOLDER configurable-http-proxy"
        )
    with (folder / "hub.log").open("wb") as log:
        process = subprocess.Popen(
            [interpreter, "-m", "jupyterhub", "-f", str(config)],
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{ports['HUB_PORT']}/base/"
    try:
        wait_for_api(process, f"{url}hub/api?", folder / "hub.log")
        yield Hub(url, token, folder)
    finally:
        end(process)
