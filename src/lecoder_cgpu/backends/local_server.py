"""The program of the local backend's child: jupyter_server, with kernels whose output never overflows a queue.

ZeroMQ drops messages of a publisher when a subscriber's queue holds 1000 of them, silently; 50,000 flushed prints on a
busy machine are enough for that. Here, the queues of the server's side are unlimited.
"""

from __future__ import annotations

from typing import Any

import zmq
from jupyter_server.serverapp import ServerApp
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager


class KernelManager(AsyncMappingKernelManager):
    """The server's own kernel manager, on sockets without a limit for what waits to be read."""

    def _context_default(self) -> Any:
        context = super()._context_default()
        context.setsockopt(zmq.RCVHWM, 0)  # the default of every socket made from it
        return context


if __name__ == "__main__":
    ServerApp.launch_instance(kernel_manager_class=KernelManager)
