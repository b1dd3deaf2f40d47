"""A job in words, for people."""

from __future__ import annotations

import time
from typing import Any

from ..models.base import SessionRef, readable
from ..models.jobs import Job, JobDocument, JobList, JobUsage, Progress
from ..models.runs import Stopped
from . import looks, times
from .looks import Cell, Table

SHORT = 12  # characters of an id at a terminal, `run-` included, unless two jobs begin so
HEADERS = ("ID", "NAME", "SESSION", "STATE", "EXIT", "CREATED", "TOOK", "USES", "PROGRESS", "COMMAND")


def text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def status(job: Job) -> str:
    return str(job.exit_code) if isinstance(job.exit_code, int) else ""


def state(job: Job) -> Cell:
    """The state, at a terminal with the exit status."""
    if job.state != "exited":
        return looks.state(job.state)
    return Cell(job.state, "red" if job.exit_code else "green", drawn=f"exited {status(job)}".rstrip())


def took(job: Job) -> str:
    """For how long it ran, or has been running."""
    if isinstance(job.seconds, (int, float)):
        return times.span(job.seconds)
    began = times.moment(text(job.started))
    return times.span(max(time.time() - began, 0.0)) if began is not None and job.state == "running" else ""


def table(document: JobList, *, detached: bool) -> Table:
    """The jobs in rows; `detached` if other runs were left out."""
    here = document.session.name if isinstance(document.session, SessionRef) else ""
    length = SHORT
    while len({job.id[:length] for job in document.jobs}) < len({job.id for job in document.jobs}):
        length += 1
    rows = [
        (
            Cell(job.id, "bold", drawn=job.id[:length]),
            text(job.name),
            text(job.session) or here,
            state(job),
            Cell(status(job), drawn=""),
            times.ago(text(job.created)),
            took(job),
            use(job),
            progress(job),
            command(job),
        )
        for job in document.jobs
    ]
    more = ["runs that were watched, too: lecoder-cgpu job list --all"] if detached else []
    return Table(
        HEADERS,
        rows,
        empty="; ".join(["There are no jobs", *more]),
        gives_way=("NAME", "PROGRESS", "COMMAND"),
        spare=("USES", "SESSION", "TOOK", "CREATED", "NAME"),
        below=["what one prints: lecoder-cgpu job logs ID", *more],
    )


def use(job: Job) -> str:
    """Processors and memory, shortly."""
    used = job.usage
    if not isinstance(used, JobUsage):
        return ""
    parts = [f"{used.cpu_percent:.0f}% CPU"] if isinstance(used.cpu_percent, float) else []
    if isinstance(used.rss_bytes, int):
        parts.append(readable(used.rss_bytes))
    if isinstance(used.gpu_memory_bytes, int):
        parts.append(f"{readable(used.gpu_memory_bytes)} GPU")
    return ", ".join(parts)


def progress(job: Job) -> str:
    made = job.progress
    if not isinstance(made, Progress) or job.state != "running":
        return ""
    if isinstance(made.percent, float):
        return f"{made.percent:g}%"
    return made.line if len(made.line) <= 30 else made.line[:29] + "…"


def command(job: Job) -> str:
    words = job.command if isinstance(job.command, list) else [text(job.command)]
    # An item of a sweep begins in a folder of its own, by a program of ours: PYTHON -I -S PROGRAM FOLDER CODE COMMAND…
    if any(word.endswith("/item_folder.py") for word in words[3:4]):
        words = words[6:]
    whole = " ".join(words)
    first = whole.strip().partition("\n")[0]
    return first if len(first) <= 60 else first[:59] + "…"


def lines(job: Job) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [
        (Cell(job.id, "bold"), ": ", looks.state(job.state)),
        *([(f"  name      {job.name}",)] if isinstance(job.name, str) else []),
        (f"  command   {command(job)}",),
        (f"  output    {job.stdout_bytes} + {job.stderr_bytes} bytes",),
    ]
    last = job.progress.line if isinstance(job.progress, Progress) else ""
    stopped = f"{job.stopped.by}: {', '.join(job.stopped.steps)}" if isinstance(job.stopped, Stopped) else ""
    for label, value in (
        ("last line", last),
        ("uses", use(job)),
        ("heartbeat", times.told(text(job.heartbeat))),
        ("stopped", stopped),
        ("exit", status(job)),
        ("signal", text(job.signal)),
        ("started", times.told(text(job.started))),
        ("ended", times.told(text(job.ended))),
        ("reason", text(job.reason)),
        ("restarts", times.ahead(text(job.restarts_at))),
    ):
        if value:
            found.append((f"  {label:<9} ", value))
    found += [(line,) for line in remaining(job, "  alive     ")]
    if job.state == "running" and stopped:
        found.append((f"  to end it lecoder-cgpu job kill --escalate {job.id}",))
    return found


def attempts(document: JobDocument) -> list[str]:
    """A line for each attempt of a job that may be run again."""
    found = document.attempts if isinstance(document.attempts, list) else []
    told = []
    for item in found:
        cause = item.cause if isinstance(item.cause, str) else "under way"
        more = [f"exit {item.exit_code}"] if isinstance(item.exit_code, int) else []
        more += ["results put back"] if item.resumed else []
        told.append(f"  attempt {item.number} {', '.join([f'{cause} on {text(item.session)}', *more])}")
    return told


def remaining(job: Job, label: str) -> list[str]:
    """A line for each process that lives on."""
    found = job.remaining if isinstance(job.remaining, list) else []
    return [f"{label}{process.pid} {process.command}" for process in found]
