"""The recorders of this runtime: one for each kernel that a client asked to record.

Runs on the runtime as a part of the helper (Python 3.8 and newer, standard library and pyzmq). `recorded.json` notes
which kernels are recorded, so that the next helper goes on with them when this one dies.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

from . import executor
from .last_messages import DIED
from .recorder import Recorder
from .recording import Recording, is_recorded
from .reply_notes import PREPARE
from .runs import Failure
from .state_files import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .executor import KernelCode

SUBSCRIBED_WITHIN = 10.0  # seconds that a caller waits for a subscription; a kernel may be starting only now
PREPARED_WITHIN = 1.0  # seconds that it waits for the answer to the probe, which comes late if the kernel is working


class Recorders:
    """The recorders of this runtime.

    Args:
        home: the folder of this tool on the runtime.
        folder: where runs are kept.
        connections: the folder of Jupyter's connection files, None when this kernel does not know it.
        active: called when a kernel works. ended: called when a run has ended.
    """

    def __init__(
        self,
        home: str,
        folder: str,
        connections: str | None,
        active: Callable[[], None] = lambda: None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self._note = os.path.join(home, "recorded.json")
        self._folder = folder
        self._connections = connections
        self._active = active
        self._ended = ended
        self._recorders: dict[str, Recorder] = {}
        for kernel in (read_json(self._note) or {}).get("kernels", []):  # an earlier helper recorded these
            try:
                self._start(str(kernel))
            except Failure:
                _give_up(folder, str(kernel))

    @property
    def busy(self) -> bool:
        """Whether a kernel that is recorded executes something now."""
        return any(recorder.busy for recorder in list(self._recorders.values()))

    def record(self, kernel: str, settle: bool = False) -> float:
        """Record a kernel from now on; returns for how many seconds everything that it published was recorded.

        Args:
            settle: first wait until everything is written that it published before this call. Returns 0.0 if that
                fails.

        Raises:
            Failure: its connection file is not on this machine, or there is no pyzmq.
        """
        own = _is_own(kernel)
        if own:
            with contextlib.suppress(Exception):  # an unusual kernel; the recorder asks it, too
                exec(PREPARE, {})  # noqa: S102 - before its code runs: this call is served beside it
        recorder = self._of(kernel)
        if recorder.ready(SUBSCRIBED_WITHIN) and not (own or recorder.busy):
            recorder.prepared.wait(PREPARED_WITHIN)
        if settle and not recorder.settle():
            return 0.0
        return recorder.seconds()

    def conclude(self, kernel: str, run: str, reply: dict[str, Any]) -> None:
        """Note what a client says of how a run ended."""
        if (recorder := self._recorders.get(kernel)) is not None:
            recorder.over.tell(run, reply)

    def execute(
        self, kernel: str, run: str, folder: str, code: KernelCode, limits: tuple[float | None, float | None]
    ) -> None:
        """Have a kernel execute code when its turn comes.

        Args:
            folder: of the run, with a `spec.json`.
            limits: seconds that it may take, and that it may be silent.
        """
        recorder = self._of(kernel)
        executor.write_code(folder, code.text)  # first, so that a helper that dies now leaves it to the next
        recorder.executor.submit(executor.KernelJob(recorder.expect(run), code, *limits))

    def signal(self, kernel: str, run: str, number: int) -> bool:
        """Take back a job that waits, or signal the kernel while it executes that run; False when neither applies."""
        recorder = self._recorders.get(kernel)
        if recorder is None:
            return False
        # That the kernel has taken it up may be among what is not read yet.
        return recorder.stop(run, number) or (recorder.behind and recorder.settle() and recorder.stop(run, number))

    def _of(self, kernel: str) -> Recorder:
        known = self._recorders.get(kernel)
        return known if known is not None and known.is_alive() else self._start(kernel)

    def _start(self, kernel: str) -> Recorder:
        recorder = Recorder(kernel, self._connection(kernel), self._folder, self._active, self._ended)
        self._recorders[kernel] = recorder
        recorder.adopt()
        recorder.start()
        alive = sorted(name for name, known in self._recorders.items() if known.is_alive())
        write_json(self._note, {"kernels": alive})
        return recorder

    def _connection(self, kernel: str) -> str:
        if not re.fullmatch(r"[\w-]+", kernel):
            raise Failure("BadRequest", f"{kernel!r} is no kernel's id")
        path = os.path.join(self._connections or "", f"kernel-{kernel}.json")
        if not os.path.exists(path):
            self._give_usual_name(kernel, path)
        if read_json(path) is None:
            raise Failure("NoConnection", "the kernel's connection file cannot be read on the helper's machine")
        return path

    def _give_usual_name(self, kernel: str, path: str) -> None:
        """Some gateways name a connection file otherwise, with the kernel's id at its beginning."""
        with contextlib.suppress(OSError):
            for name in os.listdir(self._connections or os.curdir):
                found = os.path.join(self._connections or "", name)
                if re.fullmatch(re.escape(kernel) + r"_\w+\.json", name) and os.lstat(found).st_uid == os.getuid():
                    os.symlink(found, path)


def _is_own(kernel: str) -> bool:
    """Whether that kernel is the one that the helper lives in (protocol C39)."""
    try:
        from ipykernel.connect import get_connection_file

        return os.path.basename(get_connection_file()) == f"kernel-{kernel}.json"
    except Exception:
        return False


def _give_up(folder: str, kernel: str) -> None:
    """End the runs of a kernel that no longer exists: it was executing them when the last helper died."""
    for name in os.listdir(folder):
        run = os.path.join(folder, name)
        spec = read_json(os.path.join(run, "spec.json")) or {}
        if spec.get("kind") == "kernel" and spec.get("kernel") == kernel and not is_recorded(run):
            Recording(run, kernel, None).finish(died=DIED)
