"""The runs of a kernel that a helper was recording when it died, for the recorder that goes on with them.

Runs on the runtime as a part of the helper (Python 3.8 and newer, standard library only).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from . import executor
from .recording import Recording, is_recorded
from .state_files import read_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

UNSEEN = "it ended while the helper on the runtime was down, and nobody saw how"


def found(folder: str, kernel: str) -> Iterator[tuple[Recording, executor.KernelJob | None]]:
    """Each run of a kernel that has not ended and that nobody records; the job, if it was never sent.

    Args:
        folder: where runs are kept.
    """
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        spec = read_json(os.path.join(path, "spec.json")) or {}
        if spec.get("kind") != "kernel" or spec.get("kernel") != kernel or is_recorded(path):
            continue
        code = executor.unsent(path)
        recording = Recording(path, kernel, None)
        recording.adopted = code is None  # what was never sent has missed nothing
        if code is None:
            yield recording, None
        else:
            whole = executor.KernelCode(code, *(spec.get("around") or ()))
            yield recording, executor.KernelJob(recording, whole, spec.get("timeout"), spec.get("idleTimeout"))


def of_other_process(recordings: Iterable[Recording], process: tuple[int, str | None] | None) -> list[Recording]:
    """Those that were executed by another process than the kernel has now: they have ended with it."""
    ended = []
    for recording in recordings:
        spec = read_json(os.path.join(recording.folder, "spec.json")) or {}
        before = (spec.get("kernelPid"), spec.get("kernelStart"))
        if recording.adopted and process is not None and before[0] is not None and before != process:
            ended.append(recording)
    return ended
