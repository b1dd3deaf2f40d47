"""What the machine has and uses: GPUs, memory, disk, processors. Runs on the runtime as a part of the helper.

The GPUs are asked with `nvidia-smi` in a thread, because that takes up to seconds and a call may not block.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
import threading
import time
from typing import Any

from . import memory

QUERY = "index,name,uuid,driver_version,memory.total,memory.used,utilization.gpu"
LIMIT = 3.0  # seconds that nvidia-smi gets
PATIENCE = 0.05  # seconds that a call waits for a fresh sample


class Reporter:
    """Takes samples on demand."""

    def __init__(self, folder: str) -> None:
        self._folder = folder  # whose disk is reported
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._gpus: list[dict[str, Any]] | None = None
        self._problem: str | None = None
        self._processes: list[dict[str, Any]] = []

    def report(self) -> dict[str, Any]:
        """The present figures. `sampling: true` means that the GPUs are still being asked: come again.

        A sample answers the caller that started it, and every caller that asked meanwhile; it is not kept for later.
        """
        with self._lock:
            if self._gpus is None and self._thread is None:
                self._thread = threading.Thread(target=self._sample, daemon=True)
                self._thread.start()
            thread = self._thread
        if thread is not None:
            thread.join(PATIENCE)
        with self._lock:
            gpus, problem = self._gpus, self._problem
            if gpus is not None:
                self._gpus = None
        return {
            "sampling": gpus is None,
            "gpus": gpus or [],
            "gpuProblem": problem if gpus is not None else None,
            "gpuProcesses": self._processes if gpus else [],
            "memory": memory.sizes(),
            "disk": disk(self._folder),
            "cpus": processors(),
            "hostname": socket.gethostname(),
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "python": platform.python_version(),
            "executable": sys.executable,
            "uptimeSeconds": uptime(),
        }

    def _sample(self) -> None:
        gpus: list[dict[str, Any]] = []
        processes: list[dict[str, Any]] = []
        problem = None
        try:
            gpus = nvidia_gpus()
            processes = gpu_processes() if gpus else []
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            problem = f"nvidia-smi: {error}"
        with self._lock:
            self._gpus, self._problem, self._thread = gpus, problem, None
            self._processes = processes


def nvidia_gpus() -> list[dict[str, Any]]:
    """Every NVIDIA GPU; [] on a machine without them. Figures that the driver does not give are None."""
    return [_gpu(fields) for fields in _query(f"--query-gpu={QUERY}")]


def gpu_processes() -> list[dict[str, Any]]:
    """The memory that each process holds on GPUs. A container may show none, or numbers of another namespace."""
    rows = _query("--query-compute-apps=pid,used_memory,process_name")
    return [
        {"pid": int(pid), "memoryBytes": _number(used, 1 << 20), "name": ", ".join(name)}
        for pid, used, *name in rows
        if pid.isdigit()
    ]


def _query(question: str) -> list[list[str]]:
    command = shutil.which("nvidia-smi") or _first("/usr/bin/nvidia-smi", "/opt/bin/nvidia-smi")
    if command is None:
        return []
    done = subprocess.run(
        [command, question, "--format=csv,noheader,nounits"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )
    output = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0:
        text = (output + done.stderr.decode("utf-8", "replace")).strip()
        if "No devices were found" in text or "couldn't communicate" in text:
            return []  # the program is there, a GPU is not
        raise ValueError(" ".join(text.split())[:200] or f"status {done.returncode}")
    return [[field.strip() for field in line.split(",")] for line in output.splitlines() if line.strip()]


def _gpu(fields: list[str]) -> dict[str, Any]:
    index, name, uuid, driver, total, used, utilization = fields
    return {
        "index": int(index),
        "name": name,
        "uuid": uuid,
        "driver": driver,
        "memoryTotalBytes": _number(total, 1 << 20),
        "memoryUsedBytes": _number(used, 1 << 20),
        "utilization": _number(utilization, 1),
    }


def _number(text: str, unit: int) -> int | None:
    try:
        return int(float(text)) * unit
    except ValueError:
        return None  # "[N/A]"


def _first(*paths: str) -> str | None:
    return next((path for path in paths if os.access(path, os.X_OK)), None)


def disk(folder: str) -> dict[str, Any] | None:
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return {"totalBytes": usage.total, "freeBytes": usage.free, "path": folder}


def processors() -> float:
    """How many processors' worth of time this process can get: affinity and the control group's quota."""
    count = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    words = (memory.read("/sys/fs/cgroup/cpu.max") or "").split()
    if not words:
        quota = (memory.read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") or "").strip()
        words = [quota, (memory.read("/sys/fs/cgroup/cpu/cpu.cfs_period_us") or "").strip()]
    if len(words) == 2 and all(word.isdigit() for word in words) and int(words[1]):
        count = min(count, round(int(words[0]) / int(words[1]), 2))
    return count


def uptime() -> float:
    text = memory.read("/proc/uptime")
    return float(text.split()[0]) if text else time.monotonic()
