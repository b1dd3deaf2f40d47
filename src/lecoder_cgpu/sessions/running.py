"""What goes on at a runtime, as its helper tells it: runs that have not ended, and who holds memory of GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import UNSET

from ..models.runs import job_state
from ..models.status import GpuProcess, Remaining, UnderWay
from ..system import redaction

if TYPE_CHECKING:
    from ..helper.documents import GpuProcess as GpuProcessReport
    from ..helper.documents import Report, RunState
    from ..models.status import RuntimeStatus


def fill(document: RuntimeStatus, states: Sequence[RunState], report: Report) -> None:
    """Tell of the runs of a runtime, of what ended ones left behind, and of the processes on its GPUs."""
    going = [state for state in states if not state.ended]
    document.running = [_under_way(state, report) for state in going]
    document.runs = len(document.running)
    document.gpu_processes = [_gpu_process(item, going) for item in report.gpu_processes] or UNSET
    remaining = [
        Remaining(run=state.run, pid=process.pid, command=redaction.hide(process.command))
        for state in states
        if state.ended
        for process in state.remaining
    ]
    if remaining:
        document.remaining = remaining


def _under_way(state: RunState, report: Report) -> UnderWay:
    command = state.shown()
    found = UnderWay(
        run=state.run,
        name=state.name or UNSET,
        command=" ".join(command) if isinstance(command, list) else command or "",
        state=job_state(state.state),
        detached=bool(state.detached),
        started=state.started or UNSET,
    )
    if state.progress is not None:
        found.line = redaction.hide(state.progress.line)
        if state.progress.percent is not None:
            found.percent = state.progress.percent
    if (used := state.usage) is not None:
        for name in ("processes", "cpu_percent", "rss_bytes"):
            if (value := getattr(used, name)) is not None:
                setattr(found, name, value)
        held = [item.memory_bytes or 0 for item in report.gpu_processes if item.pid in used.pids]
        if held:
            found.gpu_memory_bytes = sum(held)
    return found


def _gpu_process(item: GpuProcessReport, going: Sequence[RunState]) -> GpuProcess:
    owner = next((state.run for state in going if state.usage is not None and item.pid in state.usage.pids), UNSET)
    return GpuProcess(
        pid=item.pid,
        name=UNSET if item.name in ("", "-", "[N/A]") else redaction.hide(item.name),
        memory_bytes=UNSET if item.memory_bytes is None else item.memory_bytes,
        run=owner,
    )
