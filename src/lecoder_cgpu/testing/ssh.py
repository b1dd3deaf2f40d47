"""`/colab/ssh`: the byte stream of one SSH connection to a VM, behind it an sshd of this machine (protocol C43, C44).

It lets in who runs the fake; OpenSSH's client of `lecoder-cgpu ssh` says root, so both have to be.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tornado.websocket import WebSocketClosedError, WebSocketHandler

if TYPE_CHECKING:
    from .vms import VM

TAKEN = ("ssh-ed25519 ", "ecdsa-sha2-")
PIECE = 1 << 16
CONFIG = """\
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
SetEnv {mark}
Subsystem sftp internal-sftp
"""


def program() -> str | None:
    """OpenSSH's server; None where there is none that could let in root."""
    found = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")
    return found if hasattr(os, "geteuid") and os.geteuid() == 0 else None


class Ssh(WebSocketHandler):
    """One connection. Only one is taken at a time."""

    def initialize(self, vm: VM) -> None:
        self._vm = vm
        self._process: asyncio.subprocess.Process | None = None

    async def get(self, *arguments: str, **named: str) -> None:
        key = self.request.headers.get("X-Colab-Ssh-Pubkey", "")
        sshd = program()
        if sshd is None:
            self._refuse(404, "")
        elif not key.startswith(TAKEN):
            self._refuse(400, "unsupported key type" if key else "missing pubkey")
        elif self._vm.ssh is not None:
            self._refuse(429, '{"error":"already-active-session"}')
        else:
            self._vm.ssh = self
            self._sshd = [sshd, "-i", "-f", str(await asyncio.to_thread(_prepared, self._vm, key))]
            await super().get(*arguments, **named)

    def _refuse(self, status: int, why: str) -> None:
        self.set_status(status)
        self.finish(why)

    def check_origin(self, origin: str) -> bool:
        return True

    async def open(self, *arguments: str, **named: str) -> None:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *self._sshd, stdin=pipe, stdout=pipe, env=self._vm.machine.environment(self._vm.inside.address)
        )
        self._answers = asyncio.ensure_future(self._carry(self._process))

    async def _carry(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        with contextlib.suppress(WebSocketClosedError):
            while data := await process.stdout.read(PIECE):
                await self.write_message(data, binary=True)
        self.close()

    async def on_message(self, message: str | bytes) -> None:
        if self._process is not None and self._process.stdin is not None and isinstance(message, bytes):
            self._process.stdin.write(message)
            with contextlib.suppress(OSError):
                await self._process.stdin.drain()

    def on_close(self) -> None:
        self._vm.ssh = None
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()


def _prepared(vm: VM, key: str) -> Path:
    """The configuration of a server that lets in this key alone. What it starts belongs to the VM."""
    folder = vm.machine.folder / "ssh"
    folder.mkdir(mode=0o700, exist_ok=True)
    with contextlib.suppress(OSError):
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd, run by root, insists on a folder of its own
    if not (folder / "host").exists():
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "host")]
        subprocess.run(command, check=True, capture_output=True)
    (folder / "authorized_keys").write_text(f"{key}\n")
    config = folder / "sshd_config"
    config.write_text(CONFIG.format(folder=folder, mark=vm.machine.mark))
    return config
