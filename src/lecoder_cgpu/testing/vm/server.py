"""The program of a fake VM: a stock jupyter_server that ends when whoever started it does. Runs on the VM."""

import os
import sys
import threading


def end_with_parent() -> None:
    """Our end of the pipe stays silent until the other one is gone, however it went."""
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    from jupyter_server.serverapp import ServerApp

    ServerApp.launch_instance()
