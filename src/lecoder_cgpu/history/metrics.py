"""Numbers that a program prints as it goes on: losses, accuracies, rates, read from its output as series of points.

Read are `loss=0.53`, `loss: 0.53`, `epoch 3/10 ... acc 0.91`, dictionaries (`{'loss': 0.53, 'epoch': 0.1}`), lines of
JSON, and the bars of tqdm and Keras. The text may be anything: every step is bounded.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

SEGMENT = 4000  # characters of a line that are read
NAMES = 50  # series of one output
POINTS = 20_000  # points of one series, the newest
SHOWN = 1000  # points of a series that is shown

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?|[-+]?(?:nan|inf)\b"
_PART = r"(?:train(?:ing)?|val(?:id(?:ation)?)?|test|eval)"
# Names that are taken for one without "=" or ":" after them.
_KNOWN = (
    r"(?:loss|acc(?:uracy)?|lr|f1|auc|mae|mse|rmse|iou|bleu|rouge|psnr|ppl|perplexity|precision|recall|error|score"
    r"|reward|return|wer|fid|elbo|nll|map)"
)
_VALUE = re.compile(
    rf"(?<![\w.%/])[\"']?(?P<part>{_PART}[ ](?=[\"']?[A-Za-z])|\w{{1,30}}'s[ ])?"
    rf"(?P<name>[A-Za-z](?:[\w@-]|[./](?=\w)){{0,40}})[\"']?"
    rf"(?P<sep>[ ]{{0,3}}[=:][ ]{{0,8}}|[ ]{{1,3}})[\"']?(?P<value>{_NUMBER})(?![\w:/]|\.\d)",
    re.IGNORECASE,
)
_ALONE = re.compile(rf"(?:{_PART}[_/ -]?)?{_KNOWN}", re.IGNORECASE)
_STEP = re.compile(
    r"(?<![\w.])[\"']?(epochs?|global_step|steps?|iter(?:ation)?s?|batch|it|ep)[\"']?[ ]{0,3}[=:#]?[ ]{0,3}"
    r"[\[(]?[ ]{0,3}(\d+(?:\.\d+)?)(?!\w|:\d)",
    re.IGNORECASE,
)
_COUNTER = re.compile(r"(?<![\w./])(\d{1,12})/(\d{1,12})(?![\w./])")
_DIGIT = re.compile(r"[0-9]")
_FIRST = re.compile(r"\s*\[(\d{1,12})\]")  # [20] train-rmse:0.4
_NAMED = re.compile(r"[A-Za-z][\"']?\s?[:=]\s?$")
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)|[@-Z\\-_])")
_STEPS = ("epoch", "step", "iter", "iteration", "batch", "it", "ep", "global_step")


@dataclass(frozen=True)
class Point:
    """A value, and where it was printed: the epoch and the step that stand in its line or hold for it. `redrawn` if the
    line was drawn over later, as bars are."""

    value: float
    epoch: float | None = None
    step: float | None = None
    redrawn: bool = False


@dataclass
class Series:
    """The values of one name. `axis` tells what `x` counts: `step`, `epoch`, or the values themselves (`value`)."""

    name: str
    axis: str = "value"
    x: list[float] = field(default_factory=list)
    y: list[float] = field(default_factory=list)


def read(text: str, wanted: re.Pattern[str] | None = None) -> list[Series]:
    """The series in an output, those with the most usual names first; with `wanted`, those that it finds.

    Args:
        wanted: searched for in names; or, if it has a group, in lines: the group is the number then, and a group
            called `step` what it belongs to.
    """
    points: dict[str, list[Point]] = {}
    by_line = wanted is not None and wanted.groups > 0
    for name, point in _by_pattern(text, wanted) if by_line and wanted is not None else _points(text):
        if wanted is not None and not by_line and not wanted.search(name):
            continue
        if name not in points and len(points) >= NAMES:
            continue
        points.setdefault(name, []).append(point)
    found = [_series(name, kept[-POINTS:]) for name, kept in points.items()]
    found = [series for series in found if len(series.y) > 1 or wanted is not None]
    return sorted(found, key=lambda series: not _ALONE.fullmatch(series.name.rpartition("/")[2]))


def of_streams(texts: Sequence[str], wanted: re.Pattern[str] | None = None) -> list[Series]:
    """The series in several streams of one run; of those that are in more than one, the longer one."""
    best: dict[str, Series] = {}
    for text in texts:
        for series in read(text, wanted):
            if series.name not in best or len(series.y) > len(best[series.name].y):
                best[series.name] = series
    return list(best.values())


def thinned(series: Series, most: int = SHOWN) -> Series:
    """A series of this many points at most: of each stretch, the lowest and the highest."""
    if len(series.y) <= most:
        return series
    stretches = max(most // 2, 1)
    chosen: list[int] = []
    for number in range(stretches):
        first, last = number * len(series.y) // stretches, (number + 1) * len(series.y) // stretches
        places = range(first, max(last, first + 1))
        low, high = min(places, key=series.y.__getitem__), max(places, key=series.y.__getitem__)
        chosen += sorted({low, high})
    return Series(series.name, series.axis, [series.x[at] for at in chosen], [series.y[at] for at in chosen])


# --- lines ----------------------------------------------------------------------------------------------------------


def _segments(text: str) -> Iterator[tuple[str, bool]]:
    """Every line, and every state of a line that was drawn over; whether it was."""
    for line in text.split("\n"):
        states = [state for state in line.split("\r") if not state.isspace()] if _DIGIT.search(line) else []
        for number, state in enumerate(states):
            yield _ANSI.sub("", state[:SEGMENT]), number < len(states) - 1


def _points(text: str) -> Iterator[tuple[str, Point]]:
    epoch: float | None = None
    for segment, redrawn in _segments(text):
        steps: dict[str, float] = {}
        for found in _STEP.finditer(segment):
            steps.setdefault("epoch" if found[1].lower().startswith("ep") else "step", float(found[2]))
        counter = _FIRST.match(segment) or _COUNTER.search(segment)
        if counter is not None and "step" not in steps and not _is_other(segment[: counter.start()][-12:]):
            steps["step"] = float(counter[1])
        own = steps.get("epoch")
        values = list(_values(segment))
        if own is not None and not values:  # a line of its own, which holds for those that follow
            epoch = own
        for name, value in values:
            yield name, Point(value, epoch if own is None else own, steps.get("step"), redrawn)


def _is_other(before: str) -> bool:
    """Whether `3/10` after this counts epochs, or is a value with a name of its own."""
    said = before.lower()
    return "epoch" in said or said.rstrip(" :[(#").endswith("ep") or _NAMED.search(before) is not None


def _values(segment: str) -> Iterator[tuple[str, float]]:
    for found in _VALUE.finditer(segment):
        name = found["name"]
        if not found["sep"].strip() and not _ALONE.fullmatch(name):
            continue
        if name.lower().rstrip("s") in _STEPS or (found["sep"] == ":" and "." in name):  # train.py:42
            continue
        value = float(found["value"])
        if math.isfinite(value):
            part = (found["part"] or "").strip().removesuffix("'s")
            yield (f"{part}_{name}" if part else name), value


def _by_pattern(text: str, wanted: re.Pattern[str]) -> Iterator[tuple[str, Point]]:
    named = wanted.groupindex
    group = next((number for number in range(1, wanted.groups + 1) if number != named.get("step")), 1)
    name = next((name for name, number in named.items() if number == group), wanted.pattern)
    for segment, redrawn in _segments(text):
        for found in wanted.finditer(segment):
            try:
                value = float(found[group])
                step = float(found["step"]) if "step" in named and found["step"] else None
            except (TypeError, ValueError):
                continue
            if math.isfinite(value):
                yield name, Point(value, None, step, redrawn)


# --- series ---------------------------------------------------------------------------------------------------------


def _series(name: str, points: list[Point]) -> Series:
    """The series of these points. Where a bar is drawn in each epoch, its last state is the value of the epoch."""
    last = [point for point in points if not point.redrawn]
    if len({point.epoch for point in last if point.epoch is not None}) > 1:
        points = last
    kept: list[Point] = []
    for point in points:
        if kept and kept[-1].redrawn and (kept[-1].epoch, kept[-1].step) == (point.epoch, point.step):
            kept.pop()  # the same place, drawn again
        kept.append(point)
    for axis in ("step", "epoch"):
        places = [getattr(point, axis) for point in kept]
        if None not in places and all(first < second for first, second in itertools.pairwise(places)):
            return Series(name, axis, places, [point.value for point in kept])
    return Series(name, "value", [float(number) for number in range(1, len(kept) + 1)], [item.value for item in kept])
