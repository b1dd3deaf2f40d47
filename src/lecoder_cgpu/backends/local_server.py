"""The program of the local backend's child: jupyter_server, with kernels whose output never overflows a queue.

ZeroMQ silently drops what does not fit into a subscriber's queue (protocol J2); 50,000 flushed prints on a busy machine
are enough for that. Here, the queues of the server's side are unlimited.
"""

from __future__ import annotations

import os
import shutil
from typing import Any

import zmq

from ..system.quick_imports import without_address_grammar

with without_address_grammar():
    from jupyter_core.paths import jupyter_config_dir
    from jupyter_server.serverapp import ServerApp
    from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager

from . import local_owner


class KernelManager(AsyncMappingKernelManager):
    """The server's own kernel manager, on sockets without a limit for what waits to be read."""

    def _context_default(self) -> Any:
        context = super()._context_default()
        context.setsockopt(zmq.RCVHWM, 0)  # the default of every socket made from it
        return context


if __name__ == "__main__":
    with os.fdopen(os.dup(0), "rb") as way:
        order = way.readline()
    if not order.endswith(b"\n"):  # our starter died before it wrote down that we are there
        raise SystemExit(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    local_owner.begin(order, dict(os.environ))
    server = ServerApp.instance(kernel_manager_class=KernelManager)
    server.initialize()
    # Jupyter makes an empty folder for "no configuration" in every process that has this setting, and leaves it behind.
    empty = jupyter_config_dir()
    assert (
        server.identity_provider.token
    )  # which it has taken from the environment; no kernel, nor its output, shows it
    os.environ.pop("JUPYTER_TOKEN", None)
    os.environ.pop("JUPYTER_NO_CONFIG", None)  # kernels have the folder that JUPYTER_CONFIG_DIR names
    try:
        server.start()
    finally:
        shutil.rmtree(empty, ignore_errors=True)
