"""Arguments of public calls, checked against their annotations: what does not fit is refused, and nothing is done."""

from __future__ import annotations

import inspect
import math
import os
import types
from collections.abc import Callable, Mapping, Sequence
from functools import cache, wraps
from typing import Any, BinaryIO, Literal, TypeVar, Union, cast, get_args, get_origin

from .. import errors

__all__ = ["checked", "checked_as", "text_problem"]

MOST_SECONDS = 1e9  # no clock of an operating system counts further for sure
MOST = 2**53  # of a number that goes into a document
TEXTS = ("code",)  # arguments that may have any character
SIGNED = ("offset",)
LIMITS = ("timeout", "idle_timeout", "cell_timeout", "item_timeout", "every")
WAITS = ("Job.wait", "AsyncJob.wait")  # whose timeout says how long to look, which may be once
NEVER_EMPTY = (  # where an empty text says as much as a variable that is not set, and would be taken for None
    *("cwd", "filename", "kernel_name", "key", "name", "packages", "paths", "pull_when", "sources"),
    *("local", "remote", "path", "run_id", "signal", "endpoint", "url", "to", "output"),
    *("session", "job", "run", "since", "target"),
)
BYTES = (  # what may have bytes that are not UTF-8, as names of files do
    *("arguments", "command", "cwd", "environment", "filename", "local", "output", "outputs_dir", "path", "paths"),
    *("pull", "pull_when", "push", "remote", "requirements", "root", "secrets", "sources", "sync", "to", "config_file"),
)
SHOWN = 60  # characters of a value in a message

_NAMES = {
    str: "a text",
    int: "an integer",
    float: "a number",
    bool: "True or False",
    bytes: "bytes",
    BinaryIO: "a file",
}

C = TypeVar("C", bound=type)
F = TypeVar("F", bound=Callable[..., Any])


def checked(kind: C) -> C:
    """The class, whose public methods check what they are given. For the class that programs use, not for its parts."""
    for name in dir(kind):
        method = inspect.getattr_static(kind, name)
        if (name == "__init__" or not name.startswith("_")) and inspect.isfunction(method) and _parameters(method):
            setattr(kind, name, _checking(method, kind.__name__ if name == "__init__" else f"{kind.__name__}.{name}"))
    return kind


def checked_as(shown: str) -> Callable[[F], F]:
    """The same for one function, with the name by which it is called."""

    def check(function: F) -> F:
        return cast("F", _checking(function, shown))

    return check


def _checking(method: Callable[..., Any], shown: str) -> Callable[..., Any]:
    signature = inspect.signature(method)

    @wraps(method)
    def call(*given: Any, **named: Any) -> Any:
        bound = signature.bind(*given, **named)
        for name, hint in _parameters(method).items():
            if name in bound.arguments:
                value = bound.arguments[name]
                several = signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
                for item in value if several else (value,):
                    problem = _problem(item, hint, name)
                    if name in LIMITS and shown not in WAITS and problem is None and item == 0:
                        problem = "has to be more than 0; None is no limit"
                    if problem is not None:
                        raise errors.BadArgument(
                            f"{shown}: {name} is {_shown(item)}, and {problem}",
                            hint=f"help({shown}) tells what it takes",
                        )
        return method(*given, **named)

    return call


@cache
def _parameters(method: Callable[..., Any]) -> dict[str, Any]:
    """The parameters of a method that can be checked, with their types."""
    names = {**method.__globals__, "Progress": Callable}  # that one is imported for type checkers only
    found = {}
    for name, hint in method.__annotations__.items():
        try:
            found[name] = eval(hint, names) if isinstance(hint, str) else hint  # noqa: S307 - it is our own source
        except (NameError, AttributeError):
            continue  # imported for type checkers only
    found.pop("return", None)
    return found


def _problem(value: Any, hint: Any, name: str) -> str | None:
    """What is wrong with a value; None if it is of that type."""
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    problems = [_one(value, kind, name) for kind in kinds]
    if None in problems:
        return None
    told = [problem for problem in problems if problem]
    return told[0] if told else "has to be " + " or ".join(dict.fromkeys(map(_name, kinds)))


def _one(value: Any, hint: Any, name: str) -> str | None:
    """Like `_problem`, of one type that is no union; empty if the value is of another type altogether."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any or isinstance(hint, TypeVar):
        return None
    if hint is None or hint is types.NoneType:
        return None if value is None else ""
    if origin is Literal:
        return None if any(value is item or (type(value) is type(item) and value == item) for item in inner) else ""
    if hint in (int, float):
        return _number(value, hint, name)
    if hint is str:
        return text_problem(value, name) if isinstance(value, str) else ""
    if hint is BinaryIO:
        return None if hasattr(value, "read") else ""
    if hint is Callable or origin in (Callable, getattr(types, "FunctionType", None)) or _name(hint) == "a function":
        return None if callable(value) else ""
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            return ""
        return _items([item for pair in value.items() for item in zip(pair, inner, strict=True)], name)
    if origin is not None and issubclass(origin, Sequence):
        fits = isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)
        return _items([(item, inner[0]) for item in value], name) if fits else ""
    if isinstance(hint, type):
        fits = isinstance(value, os.PathLike) if issubclass(hint, os.PathLike) else isinstance(value, hint)
        if fits and isinstance(value, os.PathLike):
            path = os.fspath(value)
            return text_problem(path, name) if isinstance(path, str) else ""
        return None if fits else ""
    return None


def _items(pairs: Sequence[tuple[Any, Any]], name: str) -> str | None:
    for item, hint in pairs:
        if (problem := _problem(item, hint, name)) is not None:
            return f"{_shown(item)} in it {problem}"
    return None


def _number(value: Any, kind: type, name: str) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
        return ""
    if isinstance(value, float) and not math.isfinite(value):
        return "has to be a number; None is no limit"
    if value < 0 and name not in SIGNED:
        return "must not be negative"
    most = MOST if kind is int else MOST_SECONDS
    return None if abs(value) <= most else f"must not be above {most:.0e}; None is no limit"


def text_problem(value: str, name: str) -> str | None:
    """What is wrong with a text that is the argument of that name; None if nothing is."""
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return "is no text: it has half a character"
    if not value.strip() and name in NEVER_EMPTY:
        return "is empty"
    if name not in BYTES and any("\udc80" <= letter <= "\udcff" for letter in value):
        return "has bytes that are not UTF-8"
    return "has a NUL character, which no name and no command can have" if "\0" in value and name not in TEXTS else None


def _name(hint: Any) -> str:
    """What a type is called in a message."""
    origin = get_origin(hint)
    if origin is Literal:
        return " or ".join(map(repr, get_args(hint)))
    if hint is Callable or getattr(origin, "__name__", "") == "Callable":
        return "a function"
    if origin is not None and issubclass(origin, Mapping):
        return "a mapping"
    if origin is not None and issubclass(origin, Sequence):
        return f"a list of {_name(get_args(hint)[0]).removeprefix('a ')}s"
    if isinstance(hint, type) and issubclass(hint, os.PathLike):
        return "a path"
    return "None" if hint in (None, types.NoneType) else _NAMES.get(hint, getattr(hint, "__name__", "that"))


def _shown(value: Any) -> str:
    try:
        text = ascii(value)
    except Exception:  # a `repr` of somebody's own
        text = f"a {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
