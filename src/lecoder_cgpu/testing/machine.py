"""The machine behind a VM: real servers in a folder of its own, started as Colab's are (protocol C36, C37, C40).

The Jupyter server has kernels that speak ZeroMQ over ipc and start in `content`. It limits the rate of messages and not
that of data. Files have a server of their own.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

from .. import config
from ..system import process_identity
from . import nursery

HERE = Path(__file__).parent / "vm"
START_TIMEOUT = 60.0  # seconds
KILL_TIMEOUT = 5.0
ATTEMPTS = 3
POLL = 0.02
IPC = sys.platform != "win32"
SHORT = Path("/tmp")  # noqa: S108 - the path of a socket may have some 100 bytes
MARK = "FAKE_COLAB_VM"  # in the environment of everything that runs on the VM
GPUS = {
    "T4": ("Tesla T4", 15360),
    "L4": ("NVIDIA L4", 23034),
    "G4": ("NVIDIA RTX PRO 6000", 97887),
    "A100": ("NVIDIA A100-SXM4-40GB", 40960),
    "H100": ("NVIDIA H100 80GB HBM3", 81559),
}

KERNELS = {
    "ir": ("R", ["R", "--slave", "-e", "IRkernel::main()", "--args"]),
    "julia": ("Julia", ["julia", "-i", "--color=yes", "-e", "import IJulia; IJulia.run_kernel()"]),
}


class Machine:
    """Starts on demand, and is killed without notice, as a VM is.

    `root` is what the VM shows as `/`; code that runs on it sees this machine's file system all the same.
    """

    def __init__(self, folder: Path, accelerator: str, python: str) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.token = secrets.token_hex(24)
        self.port = 0
        self.files_port = 0
        self._accelerator = accelerator
        self._python = python
        self._mark = secrets.token_hex(8)
        self._servers: list[tuple[int, str | None]] = []  # process ids, each with its identity
        (self.root / "content" / "sample_data").mkdir(parents=True)
        (self.root / "root").mkdir()
        (self.root / "tmp").mkdir()
        self._runtime = Path(tempfile.mkdtemp(prefix="vm-", dir=SHORT if IPC and SHORT.is_dir() else None))
        self._add_kernels()

    @property
    def mark(self) -> str:
        """The variable by which everything that runs on the VM is found at its end."""
        return f"{MARK}={self._mark}"

    def _add_kernels(self) -> None:
        """Add the kernels that Colab's machines list beside Python. They start where R and Julia are installed."""
        for name, (language, command) in KERNELS.items():
            folder = self.folder / "jupyter" / "kernels" / name
            folder.mkdir(parents=True)
            spec = {"argv": [*command, "{connection_file}"], "display_name": language, "language": language.lower()}
            (folder / "kernel.json").write_text(json.dumps(spec))

    def start(self, address: str, *, terminals: bool) -> None:
        """Start the Jupyter server and wait until it listens.

        Args:
            address: HOST:PORT of what the VM's own services answer at.
            terminals: whether it has /api/terminals.
        """
        extensions = {"jupyter_server_terminals": terminals}
        self.port = self._start(
            "server",
            address,
            f"--ServerApp.jpserver_extensions={extensions}",
            f"--ServerApp.terminals_enabled={terminals}",
            f"--MappingKernelManager.root_dir={self.root / 'content'}",
            "--ServerApp.iopub_data_rate_limit=1e10",
            "--ServerApp.tornado_settings={'ws_ping_interval': 0}",  # its pings end at what lies in front
            *(["--KernelManager.transport=ipc"] if IPC else []),
        )

    def start_files(self, address: str) -> None:
        """The same for the server of files."""
        self.files_port = self._start("files", address, "--ServerApp.jpserver_extensions={}")

    def _start(self, name: str, address: str, *more: str) -> int:
        problem = ""
        for _ in range(ATTEMPTS):  # another process may take the port first
            port, problem = self._try(self.folder / f"{name}.log", address, more)
            if port:
                return port
        raise RuntimeError(f"the VM's {name} did not start: {problem}")

    def _try(self, log: Path, address: str, more: tuple[str, ...]) -> tuple[int, str]:
        """Start a server on a port that was free a moment ago. Returns the port, or 0 and the output of the server."""
        with socket.create_server(("127.0.0.1", 0)) as probe:  # old servers do not tell which port they chose
            port: int = probe.getsockname()[1]
        arguments = [
            "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={port}",
            "--ServerApp.port_retries=0",
            "--ServerApp.open_browser=False",
            "--ServerApp.allow_root=True",
            "--ServerApp.disable_check_xsrf=True",
            "--ServerApp.allow_origin=*",
            "--ServerApp.allow_remote_access=True",
            f"--ServerApp.root_dir={self.root}",
            "--FileContentsManager.allow_hidden=True",
            "--FileContentsManager.delete_to_trash=False",
            *more,
        ]
        pid = nursery.of(self._python).spawn(arguments, self.environment(address), self.root / "content", log)
        self._servers.append((pid, process_identity.of(pid)))
        info = self._runtime / f"jpserver-{pid}.json"
        deadline = time.monotonic() + START_TIMEOUT
        while process_identity.of(pid) is not None and time.monotonic() < deadline:
            if info.exists():
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    return port, ""
            time.sleep(POLL)
        return 0, log.read_text("utf-8", "replace")[-2000:]

    def kill(self) -> None:
        """Kill everything that runs on the VM, and delete its disk."""
        if self._servers:
            pids = _marked(self._mark)
            for pid, identity in self._servers:
                pids += _below(pid)
                if process_identity.of(pid) == identity:
                    pids.insert(0, pid)
            for pid in pids:
                with contextlib.suppress(OSError):
                    os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))
            deadline = time.monotonic() + KILL_TIMEOUT
            while time.monotonic() < deadline and any(process_identity.of(pid) for pid in pids):
                time.sleep(POLL)
        for folder in (self.folder, self._runtime):
            shutil.rmtree(folder, ignore_errors=True)

    def environment(self, address: str) -> dict[str, str]:
        """The environment of every process on the VM, without that of the machine around it."""
        folder = self.folder
        environment = {
            key: value
            for key, value in config.child_environment().items()
            if not key.startswith(("JUPYTER_", "LECODER_CGPU_", "JPY_", "PYTEST_", "XDG_"))
        }
        environment |= {
            "HOME": str(self.root / "root"),
            "JUPYTER_TOKEN": self.token,
            "JUPYTER_NO_CONFIG": "1",  # makes a temporary folder that the server never deletes
            "TMPDIR": str(self.root / "tmp"),
            "JUPYTER_RUNTIME_DIR": str(self._runtime),
            "JUPYTER_PLATFORM_DIRS": "1",
            "JUPYTER_PATH": str(folder / "jupyter"),
            "IPYTHONDIR": str(folder / "ipython"),
            "LECODER_CGPU_RESIDENT_HOME": str(folder / "resident"),
            "PYTHONPATH": str(HERE / "site"),
            "TBE_RUNTIME_ADDR": address,
            "FAKE_COLAB_ROOT": str(self.root),
            "USE_AUTH_EPHEM": "1",
            **nursery.QUIET,
            "COLAB_RELEASE_TAG": "fake",
            MARK: self._mark,
        }
        if self._accelerator in GPUS:
            name, memory = GPUS[self._accelerator]
            environment |= {"COLAB_GPU": "1", "FAKE_COLAB_GPU": f"{name},{memory}"}
            environment["PATH"] = f"{self._programs()}{os.pathsep}{environment.get('PATH', os.defpath)}"
        return environment

    def _programs(self) -> Path:
        """A folder with the commands of a VM with a GPU."""
        folder = self.folder / "bin"
        folder.mkdir(exist_ok=True)
        program = folder / "nvidia-smi"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{HERE / "nvidia_smi.py"}" "$@"\n')
        program.chmod(0o755)
        return folder


def _below(pid: int) -> list[int]:
    return [found for child in process_identity.children(pid) for found in (child, *_below(child))]


def _marked(mark: str) -> list[int]:
    """Processes with the VM's mark, which have left the server's process tree (Linux only)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"{MARK}={mark}".encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found
