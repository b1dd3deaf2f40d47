"""What a run printed, as far as anybody has it, and the series of numbers in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from msgspec import UNSET

from .. import errors
from ..history import metrics
from ..models.plots import Plot, PlotSeries
from . import kept_output, learning, planned_jobs
from .job_output import STREAMS, Written

if TYPE_CHECKING:
    from ..models.base import SessionRef
    from ..models.history import HistoryEntry
    from ..sessions.manager import SessionManager

MOST = 8 << 20  # bytes of each stream that are read, the last ones


@dataclass(frozen=True)
class Printed:
    """The output of a run: by stream, where it comes from, and whether it is all."""

    run: str
    state: str
    texts: Mapping[str, str]
    source: Literal["runtime", "copy", "history"]
    complete: bool
    session: SessionRef | None = None


def printed(manager: SessionManager, job: str, session: str | None = None) -> Printed:
    """What a run printed: as its runtime has it; if that is gone, as it was copied here, or as the history keeps it.

    Args:
        job: the id of a run or a beginning of one, or what a job is called.

    Raises:
        errors.NotFoundError, errors.LostError: nobody has it. errors.Error: its runtime cannot be reached.
    """
    entry = learning.history(manager).find(job)
    own = entry.session if entry is not None and isinstance(entry.session, str) else None
    try:
        with planned_jobs.jobs(manager, session or own, job) as jobs:
            state = jobs.find(job)
            texts, complete = _texts(jobs, state.run)
            return Printed(state.run, state.state, texts, "runtime", complete, jobs.session.record.ref)
    except (errors.LostError, errors.NotFoundError):
        copy = kept_output.of(manager.state_dir, job)
        if copy is not None:
            texts, complete = _texts(copy, copy.plan.job)
            return Printed(copy.plan.job, "unknown", texts, "copy", complete and copy.is_complete)
        if entry is None or not (entry.stdout or entry.stderr):
            raise
        return _remembered(entry)


def _texts(written: Written, run: str) -> tuple[dict[str, str], bool]:
    """Both streams of a run, and whether they are whole."""
    texts, whole = {}, True
    for stream in STREAMS:
        state, content = written.read(run, stream, -MOST, None)
        size = state.stdout_size if stream == "stdout" else state.stderr_size
        whole = whole and (size or 0) <= MOST
        texts[stream] = content.decode("utf-8", "replace")
    return texts, whole


def _remembered(entry: HistoryEntry) -> Printed:
    run = entry.run_id if isinstance(entry.run_id, str) else entry.id
    kept = len((entry.stdout + entry.stderr).encode("utf-8", "replace"))
    complete = isinstance(entry.output_bytes, int) and entry.output_bytes <= kept
    return Printed(run, entry.status, {"stdout": entry.stdout, "stderr": entry.stderr}, "history", complete)


def plot(found: Printed, metric: re.Pattern[str] | None) -> tuple[Plot, list[metrics.Series]]:
    """The document of `job plot`, and the whole series."""
    series = metrics.of_streams(list(found.texts.values()), metric)
    document = Plot(
        run=found.run,
        session=UNSET if found.session is None else found.session,
        state=found.state,
        source=found.source,
        complete=found.complete,
        series=[_document(item) for item in series],
    )
    return document, series


def _document(series: metrics.Series) -> PlotSeries:
    shown = metrics.thinned(series)
    return PlotSeries(
        name=series.name,
        axis=series.axis,  # type: ignore[arg-type]
        x=shown.x,
        y=shown.y,
        count=len(series.y),
        first=series.y[0],
        last=series.y[-1],
        lowest=min(series.y),
        highest=max(series.y),
    )
