"""What `top` shows: sessions with their GPUs, and what runs there, as lines for a terminal of any size.

Nothing here looks or draws by itself: documents come in, lines go out, and `Trends` remembers the looks before.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from ..models.sessions import KernelInfo
from ..models.status import Gpu, GpuProcess, Host, Memory, Remaining, RuntimeStatus, Top, UnderWay, Units
from . import looks, own_commands, times
from .job_text import SHORT
from .looks import GAP, Cell, Paint, Table, width
from .plain_text import printable
from .status_text import end

KEPT = 120  # looks that are remembered
WIDEST = 24  # columns of a trend
BLOCKS = "▁▂▃▄▅▆▇█"
WINDOW = 5.0  # seconds that a percentage must have been watched for, before it tells how fast it grows
PROCESSES = 8  # processes of a GPU, or left in the background, that are shown of a runtime
SORTS = ("newest", "CPU", "memory", "GPU memory", "done", "session")
JOBS = ("ID", "SESSION", "STATE", "FOR", "CPU", "MEMORY", "GPU MEM", "DONE", "RATE", "LEFT", "WHAT")
# As programs print them: 8.72it/s, 1.5s/it, 12ms/step, 350 samples/s.
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s?([A-Za-z]{1,12}/s|m?s/[a-z]{1,12})(?![A-Za-z])")
_LEFT = re.compile(r"<\s?((?:\d+ ?d(?:ays?)?,? )?(?:\d+:)?\d{1,2}:\d{2})\b|\bETA:? ((?:\d+:)?\d{1,2}:\d{2})\b")


class Trends:
    """What was seen in the looks before: use and memory of each GPU and machine, and how far each run had come."""

    def __init__(self) -> None:
        self._shares: dict[tuple[str, str, str], deque[float | None]] = {}
        self._percents: dict[str, deque[tuple[float, float]]] = {}
        self._most: float | None = None

    def note(self, document: Top, now: float) -> None:
        """Take a look in; `now` in seconds by a clock that is never set."""
        seen = {}
        for runtime in document.runtimes:
            place = runtime.endpoint
            for gpu in runtime.gpus or ():
                seen[place, f"gpu {gpu.index}", "use"] = percent(gpu.utilization.gpu)
                seen[place, f"gpu {gpu.index}", "memory"] = share(gpu.memory)
            if isinstance(runtime.host, Host):
                seen[place, "host", "memory"] = share(runtime.host.memory)
        for key in {**self._shares, **seen}:
            self._shares.setdefault(key, deque(maxlen=KEPT)).append(seen.get(key))
        self._shares = {key: past for key, past in self._shares.items() if any(value is not None for value in past)}
        going = {run.run: run.percent for _, run in runs(document) if isinstance(run.percent, float)}
        self._percents = {run: self._percents.get(run, deque(maxlen=KEPT)) for run in going}
        for run, value in going.items():
            past = self._percents[run]
            if past and value < past[-1][1]:  # the next bar has begun
                past.clear()
            past.append((now, value))

    def line(self, place: str, part: str, what: str, columns: int) -> str:
        """The last looks as blocks, the newest at the right; a blank where nothing was known."""
        past = list(self._shares.get((place, part, what), ()))[-columns:] if columns > 0 else []
        return "".join(" " if value is None else BLOCKS[min(int(value * 8 / 100), 7)] for value in past)

    def spent(self, units: Units) -> float | None:
        """The units that are fewer than they were in a look before; None if that is unknown, or none are."""
        kept = [value for value in (units.balance, units.free_units) if isinstance(value, float)]
        self._most = max(sum(kept), self._most or 0.0) if kept else self._most
        spent = (self._most or 0.0) - sum(kept) if kept else 0.0
        return spent if spent > 0 else None

    def left(self, run: str) -> float | None:
        """Seconds until a run prints 100 %, if it goes on as in the looks before; None if nobody can say."""
        past = self._percents.get(run)
        if not past or past[-1][0] - past[0][0] < WINDOW or past[-1][1] <= past[0][1]:
            return None
        return (100 - past[-1][1]) * (past[-1][0] - past[0][0]) / (past[-1][1] - past[0][1])


def percent(text: str) -> float | None:
    """A percentage of a document as a number; None if it is unknown."""
    try:
        return min(max(float(text.removesuffix("%")), 0.0), 100.0)
    except ValueError:
        return None


def share(memory: object) -> float | None:
    """How much of a memory is used, in percent; None if it is unknown."""
    if not isinstance(memory, Memory) or memory.total_bytes <= 0:
        return None
    return min(max(100 * memory.used_bytes / memory.total_bytes, 0.0), 100.0)


def runs(document: Top) -> list[tuple[str, UnderWay]]:
    """Every run that goes on, with its session."""
    return [
        (runtime.session, run)
        for runtime in document.runtimes
        for run in (runtime.running if isinstance(runtime.running, list) else ())
    ]


class View(NamedTuple):
    """How a look is shown.

    Attributes:
        sort: by which of `SORTS` runs are ordered.
        now: seconds since 1970.
    """

    trends: Trends
    columns: int
    paint: Paint
    sort: str = SORTS[0]
    now: float = 0.0


def head(document: Top, view: View, problem: str = "") -> list[str]:
    """The lines that stay on top: the time, what is held and what it costs, and what is wrong with the last look."""
    held = [runtime for runtime in document.runtimes if runtime.session]
    parts: list[str] = [
        Cell("lecoder-cgpu top", "bold"),
        times.clock(document.sampled),
        f"{len(held)} session{'' if len(held) == 1 else 's'}",
        *_units(document.units if isinstance(document.units, Units) else Units(), view),
    ]
    lines = [fitted(parts, view)]
    return [*lines, _drawn([Cell(problem, "red")], view)] if problem else lines


def _units(units: Units, view: View) -> list[str]:
    """What is left, what is spent an hour, for how long that is enough, and what was spent while this was watched."""
    found: list[str] = []
    if isinstance(units.balance, float) and (units.balance or not units.free_units):
        found.append(f"{units.balance:.4g} units left")
    if isinstance(units.free_units, float):
        found.append(f"{units.free_units:.4g} free units")
    if isinstance(units.per_hour, float):
        found.append(f"{units.per_hour:.3g} an hour")
        if units.per_hour and isinstance(units.hours_left, float):
            found.append(f"for {units.hours_left:.1f} h")
    if (spent := view.trends.spent(units)) is not None:
        found.append(f"{spent:.2g} spent since you look")
    return [Cell(text, "yellow") for text in found]


def body(document: Top, view: View) -> list[str]:
    """The sessions, and under them what runs."""
    lines: list[str] = []
    for runtime in document.runtimes:
        lines += _runtime(runtime, view)
    if not document.runtimes:
        return [own_commands.as_typed("no runtime is held; see: lecoder-cgpu status")]
    table = _jobs(document, view)
    if table.rows:
        return [*lines, "", *looks.drawn_table(table, view.columns, view.paint)]
    known = all(isinstance(runtime.running, list) for runtime in document.runtimes)
    return [*lines, "", view.paint("nothing runs", "dim")] if known else lines


# --- a session ------------------------------------------------------------------------------------------------------


def _runtime(found: RuntimeStatus, view: View) -> list[str]:
    state = [Cell("not reachable", "yellow")]
    if found.connected:
        kernel = found.kernel.state if isinstance(found.kernel, KernelInfo) else "none"
        state = [] if kernel == "none" else [Cell(f"kernel {kernel}", "green" if kernel in ("idle", "busy") else "")]
    rate, lease = found.units_per_hour, found.lease
    costs = [Cell(f"{rate:g} units/h", "yellow")] if isinstance(rate, float) else []
    spent = getattr(lease, "units_spent", None)
    if isinstance(spent, float):
        costs.append(Cell(f"{spent:.2g} spent", "yellow"))
    name = Cell(found.session or found.endpoint, "bold")
    lines = [fitted([name, found.label, *state, *costs], view)]
    if isinstance(found.problem, str):
        lines.append(_drawn([Cell(f"  {found.problem}", "red")], view))
    lines += [_drawn([Cell(_text(line), "dim")], view) for line in end(found)]
    gpus = found.gpus or []
    lines += [_gpu(found.endpoint, gpu, gpus, view) for gpu in gpus]
    if isinstance(found.host, Host):
        lines.append(_host(found.endpoint, found.host, view))
    owned = found.gpu_processes if isinstance(found.gpu_processes, list) else []
    left = found.remaining if isinstance(found.remaining, list) else []
    return lines + [fitted(parts, view) for parts in (*_processes(owned), *_left(left))]


def _gpu(place: str, gpu: Gpu, gpus: Sequence[Gpu], view: View) -> str:
    """One GPU: how busy it is, and its memory, each with its trend."""
    part = f"gpu {gpu.index}"
    names = max(width(printable(item.name)) for item in gpus)
    name = f"{printable(gpu.name):<{names}}"
    used = f"{gpu.memory.used} of {gpu.memory.total}" if isinstance(gpu.memory, Memory) else "-"
    held = "-" if (value := share(gpu.memory)) is None else f"{value:.0f}%"
    use = gpu.utilization.gpu if percent(gpu.utilization.gpu) is not None else "-"
    start = f"  GPU {gpu.index} {name}"
    if len(start) > view.columns // 3:
        start = f"  GPU {gpu.index}"
    texts = f"{start} {use:>4}{GAP}{used} {held:>4} "
    room = min(max((view.columns - width(texts) - 2) // 2, 0), WIDEST)
    first, second = (view.trends.line(place, part, what, room) for what in ("use", "memory"))
    busy = "green" if use not in ("-", "0%") else ""
    pieces = [start, " ", Cell(f"{use:>4}", busy), " ", Cell(f"{first:>{room}}", busy), GAP, used, f" {held:>4} "]
    return _drawn([*pieces, Cell(f"{second:>{room}}", "cyan")], view)


def _host(place: str, host: Host, view: View) -> str:
    cpus = [f"{host.cpus:g} CPUs"] if isinstance(host.cpus, float) else []
    sizes = [
        f"{name} {size.used} of {size.total} {share(size) or 0:.0f}%"
        for name, size in (("memory", host.memory), ("disk", host.disk))
        if isinstance(size, Memory)
    ]
    texts = ["  host", *cpus, *sizes]
    room = min(view.columns - sum(width(text) + len(GAP) for text in texts) + 1, WIDEST)
    trend = view.trends.line(place, "host", "memory", room)
    if trend and isinstance(host.memory, Memory):
        texts[-len(sizes)] += f" {trend}"
    return fitted(texts, view)


def _processes(found: Sequence[GpuProcess]) -> list[list[str]]:
    """The processes that hold memory of GPUs."""
    lines = []
    for item in found[:PROCESSES]:
        held = _size(item.memory_bytes)
        name = item.name.rpartition("/")[2] if isinstance(item.name, str) else ""
        owner = [f"of {item.run[:SHORT]}"] if isinstance(item.run, str) else []
        lines.append([f"  on GPU {item.pid}", held or "-", *([name] if name else []), *owner])
    return lines + _more(len(found) - PROCESSES, "on GPUs")


def _left(found: Sequence[Remaining]) -> list[list[str]]:
    """What ended runs have left in the background."""
    lines = [[f"  left   {item.pid}", item.command, f"by {item.run[:SHORT]}"] for item in found[:PROCESSES]]
    return lines + _more(len(found) - PROCESSES, "left")


def _more(number: int, what: str) -> list[list[str]]:
    return [[f"  {number} more {what}"]] if number > 0 else []


# --- what runs ------------------------------------------------------------------------------------------------------


def _jobs(document: Top, view: View) -> Table:
    found = sorted(runs(document), key=lambda pair: _order(pair, view.sort))
    several = len({session for session, _ in found}) > 1
    rows = [
        (
            Cell(run.run, "bold", drawn=run.run[:SHORT]),
            session if several else "",
            looks.state(run.state) if isinstance(run.state, str) and run.state != "running" else "",
            _age(run, view.now),
            f"{run.cpu_percent:.0f}%" if isinstance(run.cpu_percent, float) else "",
            _size(run.rss_bytes),
            _size(run.gpu_memory_bytes),
            Cell(f"{run.percent:g}%", "green") if isinstance(run.percent, float) else "",
            rate(run),
            time_left(run, view.trends),
            _what(run),
        )
        for session, run in found
    ]
    right = ("CPU", "MEMORY", "GPU MEM", "DONE")
    spare = ("GPU MEM", "STATE", "MEMORY", "CPU", "RATE", "SESSION", "LEFT", "FOR", "DONE")
    return Table(JOBS, rows, gives_way=("WHAT",), spare=spare, right=right)


def _order(pair: tuple[str, UnderWay], sort: str) -> tuple[float | str, float, str]:
    """What runs are sorted by: the largest first, names from A to Z, and the newest first of equals."""
    session, run = pair
    values = {"CPU": run.cpu_percent, "memory": run.rss_bytes, "GPU memory": run.gpu_memory_bytes, "done": run.percent}
    value = values.get(sort)
    first: float | str = session if sort == "session" else -float(value) if isinstance(value, (int, float)) else 1.0
    began = times.moment(run.started) if isinstance(run.started, str) else None
    return first, -(began or 0.0), run.run


def rate(run: UnderWay) -> str:
    """How fast a run goes, in its own words: the last rate in the last line that it printed."""
    found = _RATE.findall(run.line) if isinstance(run.line, str) else []
    return "{} {}".format(*found[-1]) if found else ""


def time_left(run: UnderWay, trends: Trends) -> str:
    """When it will be done, in its own words, or as the looks before let expect."""
    found = _LEFT.search(run.line) if isinstance(run.line, str) else None
    if found is not None:
        return found[1] or found[2]
    expected = trends.left(run.run)
    return "" if expected is None else f"~{times.rough(expected)}"


def _age(run: UnderWay, now: float) -> str:
    began = times.moment(run.started) if isinstance(run.started, str) else None
    return "" if began is None else times.rough(max(now - began, 0.0))


def _what(run: UnderWay) -> str:
    return run.name if isinstance(run.name, str) else run.command.strip().partition("\n")[0]


# --- lines ----------------------------------------------------------------------------------------------------------


def _size(size: object) -> str:
    """A byte count for people, nothing if it is unknown."""
    from ..models.base import readable

    return readable(size) if isinstance(size, int) else ""


def fitted(parts: Sequence[str], view: View) -> str:
    """Parts in one line: those at the end that have no room are left out, and the first one is cut if it has none."""
    shown: list[str] = []
    room = view.columns
    for part in parts:
        needed = width(printable(part)) + (len(GAP) if shown else 0)
        if needed > room and shown:
            break
        shown += [GAP, part] if shown else [part]
        room -= needed
    return _drawn(shown, view)


def _drawn(pieces: Sequence[str], view: View) -> str:
    """Pieces in one line, which ends where the terminal does."""
    shown: list[str] = []
    room = view.columns
    for piece in pieces:
        if room <= 0:
            break
        text = looks.cut(printable(piece.replace("\n", " ")), room)
        shown.append(looks.like(piece, text))
        room -= width(text)
    return looks.drawn_line(shown, view.paint)


def _text(line: Sequence[str]) -> str:
    return "".join(piece.drawn if isinstance(piece, Cell) else piece for piece in line)
