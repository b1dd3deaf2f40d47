"""How many requests a warm run sends, counted by a proxy before a stock server."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.support.proxy import Proxy

from .measure import TOOL, Aim, Runtime, Table


def measure(table: Table, runtime: Runtime, rounds: int) -> None:
    endpoint = runtime.client.session().endpoint
    proxy = Proxy(endpoint.url)
    environment = {
        **os.environ,
        "LECODER_CGPU_CONFIG_DIR": str(runtime.folder / "proxied"),
        "LECODER_CGPU_BACKEND": "jupyter",
        "LECODER_CGPU_JUPYTER_URL": proxy.url,
        "LECODER_CGPU_JUPYTER_TOKEN": endpoint.token or "",
    }
    Path(environment["LECODER_CGPU_CONFIG_DIR"]).mkdir(exist_ok=True)
    runs = {"kernel run": ["-m", "kernel", "print(1)"], "process run": ["echo 1"]}
    for words in runs.values():  # so that everything is warm
        subprocess.run([*TOOL, "run", *words], env=environment, check=True, capture_output=True)
    for name, words in runs.items():
        proxy.requests.clear()
        subprocess.run([*TOOL, "run", *words], env=environment, check=True, capture_output=True)
        count = len(proxy.requests)
        table.add(f"requests of a warm {name}", f"{count}", count, Aim(1, ""), count=count)
    subprocess.run([*TOOL, "sessions", "close", "--all"], env=environment, check=True, capture_output=True)
    proxy.close()
