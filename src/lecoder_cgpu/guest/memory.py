"""Main memory: how much of it there is, and how often the system has killed a process because it ran out.

Runs on the runtime (Python 3.8 and newer, standard library only), in the helper and in a run's supervisor.
"""

from __future__ import annotations

GROUPS = (  # files of the control group that a container sees as its own: limit, use, and events
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.events"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.oom_control",
    ),
)


def sizes() -> dict[str, int] | None:
    """Main memory as this process may use it: the machine's, or less where a control group says so."""
    values = {}
    for line in (read("/proc/meminfo") or "").splitlines():
        name, _, rest = line.partition(":")
        values[name] = int(rest.split()[0]) * 1024
    if "MemTotal" not in values:
        return None
    total, available = values["MemTotal"], values.get("MemAvailable", values.get("MemFree", 0))
    limit, used = _group()
    if limit is not None and limit < total:
        total = limit
        available = min(available, max(limit - (used or 0), 0))
    return {"totalBytes": total, "availableBytes": available}


def _group() -> tuple[int | None, int | None]:
    """The limit of the control group, and its use."""
    for limit, used, _ in GROUPS:
        text = (read(limit) or "").strip()
        if text.isdigit():
            number = (read(used) or "").strip()
            return int(text), int(number) if number.isdigit() else None
    return None, None


def share() -> float | None:
    """How much of it is in use, from 0 to 1; None where the system does not tell."""
    known = sizes()
    if not known or not known["totalBytes"]:
        return None
    return round(1 - known["availableBytes"] / known["totalBytes"], 3)


def kills() -> int:
    """How many processes the system has killed so far because memory ran out: in this control group, and on the whole
    machine. Only that it rises means anything."""
    texts = [read("/proc/vmstat"), *(read(events) for _, _, events in GROUPS)]
    words = [line.split() for text in texts for line in (text or "").splitlines() if line.startswith("oom_kill ")]
    return sum(int(number) for _, number in words)


def read(path: str) -> str | None:
    """The content of a file of the system, None if there is none."""
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return None
