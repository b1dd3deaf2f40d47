"""GPUs, memory and disk of a runtime as its own route tells (`/api/colab/resources`), without a helper on it
(protocol C45)."""

from __future__ import annotations

import math
from typing import Any

from ...jupyter.endpoint import Endpoint
from ...models.status import Gpu, Host, Memory, Utilization
from ...net.http import Http
from ..protocol import Machine
from .calls import decode

TIMEOUT = 10.0  # seconds


def machine(endpoint: Endpoint) -> Machine:
    """Ask the runtime.

    Raises:
        errors.Error: it does not answer, or in no form that makes sense.
    """
    http = Http(endpoint.url, endpoint.headers)
    try:
        answer = decode(http.request("GET", "api/colab/resources", timeout=TIMEOUT), "api/colab/resources")
    finally:
        http.close()
    return parsed(answer if isinstance(answer, dict) else {})


def parsed(answer: dict[str, Any]) -> Machine:
    """The answer in our words. Whatever it leaves out stays out."""
    gpus = []
    for number, item in enumerate(_dicts(answer.get("gpus"))):
        gpu = Gpu(
            index=number,
            name=str(item.get("name") or "unknown"),
            utilization=Utilization(gpu=_percent(_times_100(item.get("gpuUtilization"))), memory="unknown"),
        )
        total, used = _whole(item.get("memoryTotalBytes")), _whole(item.get("memoryUsedBytes"))
        if total:
            gpu.memory = Memory.of(total, used)
            gpu.utilization.memory = _percent(100 * used / total)
        gpus.append(gpu)
    host = Host(kind="gpu" if gpus else "cpu")
    memory = answer.get("memory")
    if isinstance(memory, dict) and _whole(memory.get("totalBytes")):
        total = _whole(memory.get("totalBytes"))
        host.memory = Memory.of(total, total - _whole(memory.get("freeBytes")))
    for disk in _dicts(answer.get("disks"))[:1]:
        system = disk.get("filesystem") or {}
        if isinstance(system, dict) and _whole(system.get("totalBytes")):
            host.disk = Memory.of(_whole(system.get("totalBytes")), _whole(system.get("usedBytes")))
    return Machine(gpus, host)


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, (int, float)) and math.isfinite(value) else 0


def _times_100(value: Any) -> float | None:
    return 100.0 * value if isinstance(value, (int, float)) else None


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f}%"
