"""A server as a Colab machine has it in front, with `/colab/ssh`: a real sshd behind a WebSocket, one at a time."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.servers import end, free_port, wait_for_api

SSHD = shutil.which("sshd") or ("/usr/sbin/sshd" if Path("/usr/sbin/sshd").exists() else None)
needs_sshd = pytest.mark.skipif(
    SSHD is None or shutil.which("ssh") is None or not hasattr(os, "geteuid") or os.geteuid() != 0,
    reason="needs OpenSSH's server and client, and root",
)

_PROGRAM = """
import asyncio, pathlib, sys
import tornado.ioloop, tornado.web, tornado.websocket
folder, sshd = pathlib.Path(sys.argv[2]), sys.argv[3]
active = []

class Ssh(tornado.websocket.WebSocketHandler):
    async def get(self):
        key = self.request.headers.get("X-Colab-Ssh-Pubkey", "")
        mode = (folder / "mode").read_text() if (folder / "mode").exists() else ""
        if mode:
            self.set_status(int(mode))
            self.finish("refused")
        elif not key:
            self.set_status(400)
            self.finish("missing pubkey")
        elif not key.startswith(("ssh-ed25519 ", "ecdsa-sha2-")):
            self.set_status(400)
            self.finish("unsupported key type")
        elif active:
            self.set_status(429)
            self.finish('{"error":"already-active-session"}')
        else:
            active.append(self)
            (folder / "authorized_keys").write_text(key + "\\n")
            await super().get()
    async def open(self):
        self.process = await asyncio.create_subprocess_exec(
            sshd, "-i", "-f", str(folder / "sshd_config"),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
        asyncio.ensure_future(self.pump())
    async def pump(self):
        while data := await self.process.stdout.read(65536):
            try:
                await self.write_message(data, binary=True)
            except tornado.websocket.WebSocketClosedError:
                break
        self.close()
    async def on_message(self, message):
        self.process.stdin.write(message)
        await self.process.stdin.drain()
    def on_close(self):
        active.remove(self)
        if self.process.returncode is None:
            self.process.stdin.close()

class Version(tornado.web.RequestHandler):
    def get(self):
        self.finish({"version": "2.14.0"})

class Kernels(tornado.web.RequestHandler):
    def get(self):
        self.set_header("content-type", "application/json")
        self.finish("[]")

tornado.web.Application([("/api", Version), ("/api/kernels", Kernels), ("/colab/ssh", Ssh)]).listen(
    int(sys.argv[1]), "127.0.0.1")
tornado.ioloop.IOLoop.current().start()
"""


@dataclass(frozen=True)
class SshServer:
    """`mode` makes it refuse handshakes with that status."""

    url: str
    folder: Path

    def mode(self, status: int | None) -> None:
        (self.folder / "mode").write_text(str(status or ""))


@contextlib.contextmanager
def start_ssh_server(folder: Path) -> Iterator[SshServer]:
    """Start it, and end it afterwards."""
    assert SSHD is not None
    folder.mkdir(mode=0o700)
    Path("/run/sshd").mkdir(exist_ok=True)  # where sshd, run by root, insists on a folder of its own
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "host"], check=True)
    (folder / "sshd_config").write_text(
        f"HostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized_keys\nUsePAM no\nStrictModes no\n"
        "PermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "Subsystem sftp internal-sftp\n"
    )
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", _PROGRAM, str(port), str(folder), SSHD])
    url = f"http://127.0.0.1:{port}/"
    try:
        wait_for_api(process, url)
        yield SshServer(url, folder)
    finally:
        end(process)
