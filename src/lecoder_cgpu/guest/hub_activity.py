"""Tells a JupyterHub that work goes on, so that it does not end a server that seems idle (protocol J44).

Runs on the runtime as a part of the helper (Python 3.8 and newer, standard library only). Each user server has the
address to tell it to and a token of its own in its environment, which kernels inherit. Work may be silent for hours:
the server itself counts only what kernels publish. Nothing is told when nothing works, and nothing afterwards.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import threading
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

INTERVAL = 60.0  # seconds between two reports; cullers wait for ten minutes and more
TIMEOUT = 20.0  # seconds for one report


class HubActivity:
    """Reports to the Hub while something works; does nothing on a machine that no Hub has started.

    Args:
        working: whether work goes on now. environ: the variables of this process.

    Attributes:
        wanted: set to false by users who do not want that.
    """

    def __init__(self, working: Callable[[], bool], environ: Mapping[str, str] = os.environ) -> None:
        self.wanted = True
        self._working = working
        self._url = environ.get("JUPYTERHUB_ACTIVITY_URL", "")
        self._token = environ.get("JUPYTERHUB_API_TOKEN", "")
        self._server = environ.get("JUPYTERHUB_SERVER_NAME", "")
        self._interval = INTERVAL
        with contextlib.suppress(ValueError):  # the server's own pace, in seconds; ours is not slower
            self._interval = min(INTERVAL, float(environ.get("JUPYTERHUB_ACTIVITY_INTERVAL", INTERVAL)))
        self._pause = threading.Event()
        if self._url and self._token:
            threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while not self._pause.wait(max(self._interval, 1.0)):
            # The Hub cannot be reached, or says no: it may the next time, and work goes on in any case.
            with contextlib.suppress(Exception):
                if self.wanted and self._working():
                    self._report()

    def _report(self) -> None:
        now = datetime.datetime.now(datetime.timezone.utc).isoformat()  # noqa: UP017 - Python 3.8
        body = {"servers": {self._server: {"last_activity": now}}, "last_activity": now}
        headers = {"Authorization": "token " + self._token, "Content-Type": "application/json"}
        request = urllib.request.Request(self._url, json.dumps(body).encode(), headers, method="POST")  # noqa: S310
        # The Hub is a neighbour: never by way of a proxy.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=TIMEOUT):
            pass
