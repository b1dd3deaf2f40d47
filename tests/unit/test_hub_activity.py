"""Reports to a JupyterHub: only while something works, and only where that is wanted."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from lecoder_cgpu.guest.hub_activity import HubActivity
from tests.support.wait import wait_until


def test_reports() -> None:
    """Nothing idle is reported; work is, with the server's name and token; and no more when the user does not want."""
    told: list[Any] = []
    asked: list[bool] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told.append((self.headers["Authorization"], body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    works = [False]

    def working() -> bool:
        asked.append(works[0])
        return works[0]

    activity = HubActivity(
        working,
        {
            "JUPYTERHUB_ACTIVITY_URL": f"http://127.0.0.1:{server.server_port}/hub/api/users/ada/activity",
            "JUPYTERHUB_API_TOKEN": "secret",
            "JUPYTERHUB_SERVER_NAME": "gpu",
            "JUPYTERHUB_ACTIVITY_INTERVAL": "1",
        },
    )
    wait_until(lambda: bool(asked))
    assert told == []
    works[0] = True
    wait_until(lambda: bool(told))
    token, body = told[0]
    assert (token, list(body["servers"])) == ("token secret", ["gpu"])
    assert body["servers"]["gpu"]["last_activity"] == body["last_activity"]
    activity.wanted = False
    works[0] = False
    server.shutdown()
    server.server_close()


def test_elsewhere_nothing_is_started() -> None:
    """Without the Hub's variables, or with odd ones, there is no thread and no failure."""
    before = threading.active_count()
    HubActivity(lambda: True, {})
    HubActivity(lambda: True, {"JUPYTERHUB_ACTIVITY_URL": "http://127.0.0.1:1/", "JUPYTERHUB_ACTIVITY_INTERVAL": "x"})
    assert threading.active_count() == before
