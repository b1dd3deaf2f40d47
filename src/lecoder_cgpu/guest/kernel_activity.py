"""Shows the helper's kernel as active while work goes on, so that its server does not end it as idle (protocol J46).

Runs on the runtime as a part of the helper (Python 3.8 and newer, standard library only). To its server, a kernel is
idle that executes nothing and publishes nothing. The helper executes nothing: others do the work, which may be silent
for hours while no client is there. When the helper ends, what code in kernels prints is not recorded any more.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

INTERVAL = 2.0  # seconds between two signs of life; servers wait for minutes before they end a kernel
SHARE = 50  # looking whether something works takes at most this part of the time


def keep(publish: Callable[[], None], working: Callable[[], bool], wanted: Callable[[], bool]) -> None:
    """Publish something now and then, from a thread, while `working` and `wanted`."""

    def run() -> None:
        pause = INTERVAL
        while True:
            time.sleep(pause)
            began = time.monotonic()
            with contextlib.suppress(Exception):  # no sign of life is worth the end of this thread
                if wanted() and working():
                    publish()
            pause = max(INTERVAL, SHARE * (time.monotonic() - began))

    threading.Thread(target=run, daemon=True).start()
