"""What a sweep runs: items, made of parameters and of the lines of a file. Pure, except that it reads that file.

An item is its values: its key is their hash, wherever it stands in the grid. So a grid may grow, or be typed in another
order, and what has a result is found again.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple

from .. import errors

ASKED = 100_000  # items above which the user is asked first
MOST = 5_000_000  # items of one sweep
KEY = "key"  # the name that stands for an item's key in the command
LINE = """each line is a JSON object, as by: echo '{"lr": 0.1, "seed": 0}' >> FILE.jsonl; --from FILE.jsonl"""
SHOWN = 12  # values that the expansion names

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RANGE = re.compile(r"([-+]?\d+)\.\.([-+]?\d+)(?:\.\.([-+]?\d+))?")
_LIKE_RANGE = re.compile(r"[-+]?[\d.]*\d\.\.|\.\.[-+]?\d[\d.]*$")  # what begins or ends as a range does


class Item(NamedTuple):
    """One run of the command: its key, and the values of its parameters by name."""

    key: str
    values: dict[str, str]

    def described(self) -> str:
        """Its values as people read them."""
        return " ".join(f"{name}={value}" for name, value in self.values.items())


@dataclass(frozen=True)
class Parameter:
    """A name and its values, in the order in which they were given. `doubled` were given more than once."""

    name: str
    values: Sequence[str]
    doubled: Sequence[str] = ()

    def shown(self) -> list[str]:
        """The values that people are shown: of many, the first ones and the last."""
        if len(self.values) <= SHOWN:
            return list(self.values)
        return [*self.values[: SHOWN - 1], "…", self.values[-1]]

    def expansion(self) -> str:
        """The values for people: `seed: 5 values: 0 1 2 3 4`."""
        count = len(self.values)
        return f"{self.name}: {count} {'value' if count == 1 else 'values'}: {' '.join(self.shown())}"


@dataclass(frozen=True)
class Grid:
    """All combinations of the parameters, for each line of a file if there is one.

    `lines` are the values of the file, each once; `doubled_lines` are the numbers of lines that repeat an earlier one.
    """

    parameters: Sequence[Parameter] = ()
    lines: Sequence[Mapping[str, str]] = ()
    doubled_lines: Sequence[int] = field(default=())

    @property
    def names(self) -> list[str]:
        """The parameters' names: those of the file first."""
        return [*(self.lines[0] if self.lines else ()), *(item.name for item in self.parameters)]

    def __len__(self) -> int:
        return math.prod(len(item.values) for item in self.parameters) * (len(self.lines) or 1)

    def __iter__(self) -> Iterator[Item]:
        """The items; the last parameter changes fastest."""
        for line in self.lines or ({},):
            for values in itertools.product(*(item.values for item in self.parameters)):
                yield item({**line, **dict(zip((one.name for one in self.parameters), values, strict=True))})

    def doubles(self) -> list[str]:
        """What was given twice, and counts once, as sentences."""
        said = [
            f"{item.name}: {', '.join(item.doubled)} {'is' if len(item.doubled) == 1 else 'are'} given twice, "
            f"and {'counts' if len(item.doubled) == 1 else 'count'} once"
            for item in self.parameters
            if item.doubled
        ]
        if self.doubled_lines:
            numbers = ", ".join(map(str, self.doubled_lines[:SHOWN])) + (
                ", …" if len(self.doubled_lines) > SHOWN else ""
            )
            said.append(f"the file has lines with the values of earlier ones, which count once: {numbers}")
        return said


def item(values: Mapping[str, str]) -> Item:
    """The item with these values."""
    canonical = json.dumps(sorted(values.items()), separators=(",", ":"), ensure_ascii=True)
    return Item(sha256(canonical.encode()).hexdigest()[:16], dict(values))


def make(specs: Sequence[str], file: str | None) -> Grid:
    """The grid of `-p NAME=VALUES` and of a file with a JSON object in each line.

    Raises:
        errors.UsageError: something in it makes no sense, or there is nothing. errors.NotFoundError: no such file.
    """
    parameters: list[Parameter] = []
    for spec in specs:
        made = parameter(spec)
        if any(made.name == known.name for known in parameters):
            raise errors.UsageError(
                f"the parameter {made.name} is given twice",
                name="DoubleParameter",
                hint=f"all values in one option: -p {made.name}=A,B",
            )
        parameters.append(made)
    lines, doubled = ([], []) if file is None else _lines(file)
    for made in parameters:
        if lines and made.name in lines[0]:
            raise errors.UsageError(
                f"the parameter {made.name} is given twice: with -p, and in {file}",
                name="DoubleParameter",
                hint=f"leave out -p {made.name}=…, or rename it",
            )
    if not parameters and not lines:
        raise errors.UsageError(
            "there are no values to run the command with", hint="-p lr=0.1,0.01 -p seed=0..4, or --from FILE.jsonl"
        )
    grid = Grid(parameters, lines, doubled)
    if len(grid) > MOST:
        raise _too_many(len(grid))
    return grid


def parameter(spec: str) -> Parameter:
    """A parameter as it is typed: `lr=0.1,0.01`, `seed=0..4`, `n=1,2,10..100..10`. `\\,` is a comma in a value.

    Raises:
        errors.UsageError
    """
    name, separator, text = spec.partition("=")
    if not separator:
        raise errors.UsageError(f"-p {spec!r} has no values", hint=f"-p {spec or 'NAME'}=VALUE,VALUE")
    check_name(name, f"-p {spec!r}")
    found: list[str] = []
    for token in _tokens(text):
        if not token:
            what = "an empty value" if text else "no values"
            raise errors.UsageError(
                f"-p {spec!r} has {what}", name="EmptyValue", hint=f"-p {name}=A,B; empty ones can come from --from"
            )
        found += _range(name, token)
        if len(found) > MOST:
            raise _too_many(len(found))
    values = list(dict.fromkeys(found))
    seen: set[str] = set()
    doubled = [] if len(values) == len(found) else [value for value in found if value in seen or seen.add(value)]  # type: ignore[func-returns-value]
    return Parameter(name, values, list(dict.fromkeys(doubled)))


def check_name(name: str, where: str) -> None:
    """Refuse a name that could not stand in the command and in the environment.

    Raises:
        errors.UsageError
    """
    if name == KEY:
        raise errors.UsageError(
            f"{where}: {{{KEY}}} is the item's own key", hint=f"call the parameter otherwise: -p {KEY}_=A,B"
        )
    if not _NAME.fullmatch(name):
        raise errors.UsageError(
            f"{where}: {name!r} cannot be the name of a parameter", hint="letters, digits and _: -p learning_rate=0.1"
        )


def _tokens(text: str) -> list[str]:
    """What stands between commas; a backslash before a comma keeps it."""
    return [part.replace("\0", ",") for part in text.replace("\\,", "\0").split(",")]


def _range(name: str, token: str) -> Sequence[str]:
    """The values of `0..4` or `0..10..2`; any other text is one value.

    Raises:
        errors.UsageError: it begins like a range and is not one.
    """
    found = _RANGE.fullmatch(token)
    if found is None:
        if _LIKE_RANGE.match(token):
            raise errors.UsageError(
                f"-p {name}: {token!r} is not a range of whole numbers",
                name="BadRange",
                hint=f"-p {name}=0..4, with a step -p {name}=0..10..2; or name the values: -p {name}=0.1,0.2",
            )
        return [token]
    first, last = int(found[1]), int(found[2])
    step = int(found[3]) if found[3] is not None else 1
    if step == 0 or (last - first) * step < 0:
        down = f"{found[1]}..{found[2]}..-{abs(step) or 1}"
        raise errors.UsageError(
            f"-p {name}: {token!r} never gets from {first} to {last}",
            name="BadRange",
            hint=f"-p {name}={down}" if last < first else f"-p {name}={found[1]}..{found[2]}..1",
        )
    numbers = range(first, last + (1 if step > 0 else -1), step)
    if len(numbers) > MOST:
        raise _too_many(len(numbers))
    padded = any(re.match(r"[-+]?0\d", text) for text in (found[1], found[2]))
    width = max(len(found[1]), len(found[2])) if padded else 0
    return [f"{number:0{width}d}" for number in numbers]


def _too_many(count: int) -> errors.UsageError:
    return errors.UsageError(
        f"{count} items are more than one sweep may have ({MOST})",
        name="TooManyItems",
        hint="divide the values among several sweeps: -p seed=0..99999",
    )


# --- a file with a JSON object in each line ---------------------------------------------------------------------------


def _lines(file: str) -> tuple[list[Mapping[str, str]], list[int]]:
    """The values in each line, each once, and the numbers of the lines that repeat earlier ones."""
    try:
        with open(os.path.expanduser(file), encoding="utf-8-sig") as opened:
            found: dict[str, Mapping[str, str]] = {}
            doubled = []
            names: list[str] | None = None
            for number, text in enumerate(opened, 1):
                if not text.strip():
                    continue
                values = _line(file, number, text)
                names = list(values) if names is None else names
                _check_names(file, number, list(values), names)
                key = item(values).key
                if key in found:
                    doubled.append(number)
                else:
                    found[key] = {name: values[name] for name in names}
                if len(found) > MOST:
                    raise _too_many(len(found))
    except FileNotFoundError:
        raise errors.FileNotFound(f"{file}: no such file here", hint="--from FILE.jsonl") from None
    except UnicodeDecodeError as error:
        raise errors.UsageError(f"{file} is not text in UTF-8", name="NotText", hint="--from FILE.jsonl") from error
    except OSError as error:
        raise errors.UsageError(f"{file} cannot be read: {error.strerror}", hint="--from FILE.jsonl") from error
    if not found:
        raise errors.UsageError(f"{file} has no lines", hint=LINE)
    return list(found.values()), doubled


def _line(file: str, number: int, text: str) -> dict[str, str]:
    where = f"{file}, line {number}"
    try:
        # Numbers keep the digits that were written: they are the item's identity, and go to the command as they are.
        pairs = json.loads(
            text, parse_float=str, parse_int=str, parse_constant=str, object_pairs_hook=lambda found: _Pairs(found)
        )
    except (ValueError, RecursionError) as error:
        why = f"{error.msg} at column {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise errors.UsageError(f"{where} is not JSON: {why}", name="BadLine", hint=LINE) from None
    if not isinstance(pairs, _Pairs) or not pairs.pairs:
        raise errors.UsageError(
            f"{where} is not an object with values",
            name="BadLine",
            hint=LINE,
        )
    values: dict[str, str] = {}
    for name, value in pairs.pairs:
        check_name(name, where)
        if name in values:
            raise errors.UsageError(f"{where} gives {name} twice", name="BadLine", hint=f"leave out one {name}; {LINE}")
        values[name] = _text(where, name, value)
    return values


class _Pairs(NamedTuple):
    """An object as it is written: a name may stand there twice."""

    pairs: list[tuple[str, Any]]


def _text(where: str, name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and "\0" not in value:
        return value
    raise errors.UsageError(
        f"{where}: the value of {name} is neither text nor a number",
        name="BadLine",
        hint=f"a list or an object can be given as text; {LINE}",
    )


def _check_names(file: str, number: int, names: list[str], first: list[str]) -> None:
    lacks = [name for name in first if name not in names]
    more = [name for name in names if name not in first]
    if lacks or more:
        what = f"has no value for {', '.join(lacks)}" if lacks else f"has {', '.join(more)}, which earlier lines lack"
        raise errors.UsageError(
            f"{file}, line {number} {what}",
            name="BadLine",
            hint=f"give {', '.join(first)} in each line, and nothing else; --from FILE.jsonl",
        )
