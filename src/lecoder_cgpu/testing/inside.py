"""What a VM serves besides Jupyter: `/api/colab/*`, and the services that only the VM itself can reach."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from .machine import GPUS
from .ssh import Ssh
from .tty import Tty

if TYPE_CHECKING:
    from .vms import VM


class Inside:
    """The VM's own services, at `address` (HOST:PORT)."""

    def __init__(self, vm: VM) -> None:
        routes: list[Any] = [
            (r"/api/colab/resources", Resources),
            (r"/api/colab/drive", Drive),
            (r"/api/colab/build-info", Build),
            (r"/unassign", Unassign),
            (r"/clock", Now),
            (r"/credentials", Credentials),
            (r"/colab/tty", Tty),
            (r"/colab/ssh", Ssh),
        ]
        self._server = HTTPServer(Application([(path, handler, {"vm": vm}) for path, handler in routes]))
        self.port = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def open(self) -> None:
        sockets = bind_sockets(0, "127.0.0.1")
        self.port = sockets[0].getsockname()[1]
        self._server.add_sockets(sockets)

    def close(self) -> None:
        self._server.stop()

    async def closed(self) -> None:
        await self._server.close_all_connections()


class _Handler(RequestHandler):
    def initialize(self, vm: VM) -> None:
        self.vm = vm

    def document(self, content: Any) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish(self.vm.world.switches.xssi.encode() + json.dumps(content).encode())


class Resources(_Handler):
    def get(self) -> None:
        vm = self.vm
        total = 54_800_000_000 if vm.high_ram else 13_600_000_000
        disk = shutil.disk_usage(vm.machine.folder)
        name, memory = GPUS.get(vm.accelerator, ("", 0))
        used = {"memoryUsedBytes": 3 << 20, "gpuUtilization": 0.0, "memoryUtilization": 0.0, "everUsed": False}
        self.document(
            {
                "memory": {"totalBytes": total, "freeBytes": total - 1_100_000_000.5},
                "disks": [{"filesystem": {"label": "kernel", "totalBytes": disk.total, "usedBytes": disk.used}}],
                "gpus": [{"name": name, "memoryTotalBytes": memory << 20, **used}] if memory else [],
            }
        )


class Drive(_Handler):
    def get(self) -> None:
        self.document({"dfs": []})


class Build(_Handler):
    def get(self) -> None:
        self.document({"release_tag": "fake"})


class Unassign(_Handler):
    """The service behind `google.colab.runtime.unassign()`."""

    def post(self) -> None:
        vm = self.vm
        vm.world.note("POST", "vm", "/unassign", {}, {}, vm.endpoint).status = 200
        self.finish(b"")
        vm.world.later(vm.world.release, vm)


class Credentials(_Handler):
    """The auth types whose credentials the VM was given."""

    def get(self) -> None:
        self.finish(json.dumps(sorted(self.vm.propagated)))


class Now(_Handler):
    """The virtual time, for code that waits on the VM."""

    def get(self) -> None:
        self.finish(json.dumps({"now": self.vm.world.clock.now()}))
