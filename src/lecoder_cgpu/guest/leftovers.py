"""What runs that have ended by themselves left in the background (`nohup train &`), and whether that is at work.

Runs on the runtime (Python 3.8 and newer, standard library only), in the helper and in the lease's guard. A program
that merely waits, such as a server that nobody asks, is not at work: it must not hold a runtime for ever.

Only Linux was tested. Without /proc, nothing is known to be at work.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time

from .run_processes import processes_of
from .state_files import read_json

SHARE = 0.02  # of one processor, above which programs are at work
PACE = 5.0  # seconds between two looks, at most one in that time
GPU_LIMIT = 5.0  # seconds for the answer of nvidia-smi
_GPU_QUERY = ("nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits")


class Leftovers:
    """Compares what the programs have used with an earlier look. The first look takes all that they ever used for
    fresh, since it is better to hold a runtime once too long than to end work.

    Args:
        folder: where runs are kept.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._looked: float | None = None
        self._used: dict[tuple[int, str], float] = {}
        self._found = False

    def at_work(self, pace: float = PACE) -> bool:
        """Whether the programs have used a processor or a GPU between the last two looks.

        Args:
            pace: seconds after which there is another look; the answer of the last one is given until then.
        """
        now = time.monotonic()
        if self._looked is not None and now - self._looked < pace:
            return self._found
        used = self._look()
        fresh = sum(seconds - self._used.get(process, 0.0) for process, seconds in used.items())
        elapsed = pace if self._looked is None else now - self._looked
        self._found = bool(used) and (fresh >= SHARE * elapsed or _on_busy_gpu([pid for pid, _ in used]))
        self._looked, self._used = now, used
        return self._found

    def _look(self) -> dict[tuple[int, str], float]:
        """The processor seconds of each program that was left, and of its children that it has waited for."""
        used = {}
        for folder in self._left():
            for process in processes_of(folder).alive():
                used[process.pid, process.start] = _seconds(process.pid)
        return used

    def _left(self) -> list[str]:
        """The folders of the runs that have ended and left something."""
        found = []
        with contextlib.suppress(OSError):
            for name in os.listdir(self._folder):
                folder = os.path.join(self._folder, name)
                if (read_json(os.path.join(folder, "result.json")) or {}).get("remaining"):
                    found.append(folder)
        return found


def _seconds(pid: int) -> float:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
        return float(sum(int(field) for field in fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _on_busy_gpu(pids: list[int]) -> bool:
    """Whether one of these processes has a GPU open, and a GPU is busy."""
    if not any(_has_gpu(pid) for pid in pids):
        return False
    with contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
        told = subprocess.run(
            _GPU_QUERY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=GPU_LIMIT, check=True
        )
        return any(int(line) > 0 for line in told.stdout.split())
    return False


def _has_gpu(pid: int) -> bool:
    folder = f"/proc/{pid}/fd"
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                if os.readlink(os.path.join(folder, name)).startswith("/dev/nvidia"):
                    return True
    return False
