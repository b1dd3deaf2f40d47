"""How a function gets to a runtime: as byte code, which needs the same minor version of Python there, or as source."""

from __future__ import annotations

import ast
import inspect
import pickle
import sys
import textwrap
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import IO, Any, NamedTuple

from .. import errors
from ..api.session import Session
from ..jupyter.watch_limits import WatchLimits

__all__ = [
    "Place",
    "Source",
    "Unfit",
    "forget",
    "mismatch",
    "of",
    "pack",
    "pack_data",
    "place_of",
    "plain",
    "source_for",
]

HERE = list(sys.version_info[:2])
_PROBE = (
    "print('python', *__import__('sys').version_info[:2], "
    "__import__('importlib.util').util.find_spec('cloudpickle') is not None)"
)


class Place(NamedTuple):
    """What a kernel has: its Python, and whether cloudpickle is there."""

    python: list[int]
    cloudpickle: bool


@dataclass
class Source:
    """A function as text, with the modules that it uses by the names that it gives them, and what else it uses."""

    name: str
    modules: dict[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> dict[str, Any]:
        return {"name": self.name, "modules": self.modules, "text": "\n\n".join(self.parts.values())}


_places: dict[Session, Place] = {}
_lock = threading.Lock()


class Unfit(Exception):
    """Why a function cannot travel as source."""


def source_for(session: Session, function: Callable[..., Any]) -> Source | None:
    """The function as source where the runtime needs that; None where it can go as byte code. Asks once per session.

    Raises:
        errors.UsageError: (`PythonMismatch`) it cannot travel. (`NotPython`) the kernel runs another language.
        errors.ImportFailure: the runtime has no cloudpickle, and the function needs it.
    """
    place = place_of(session)
    if place.python == HERE and place.cloudpickle:
        return None
    try:
        return of(function)
    except Unfit as reason:
        if place.python != HERE:
            raise mismatch(place.python, str(reason)) from None
        raise errors.ImportFailure(
            f"the runtime has no cloudpickle, and the function cannot travel as source: {reason}",
            name="ModuleNotFoundError",
            hint="Session.install('cloudpickle')",
        ) from None


def place_of(session: Session) -> Place:
    """What the session's kernel has; asks once per session.

    Raises:
        errors.UsageError: (`NotPython`, `NeedsPython`) it runs another language.
        errors.Error: it could not be asked.
    """
    return _places.get(session) or _places.setdefault(session, _ask(session))


def forget(session: Session) -> None:
    """Ask anew what the session's kernel has."""
    _places.pop(session, None)


def mismatch(there: list[int], reason: str) -> errors.UsageError:
    """The error for a function that this Python has compiled and the other one cannot execute."""
    theirs, ours = (".".join(str(part) for part in version) for version in (there, HERE))
    return errors.PythonMismatch(
        f"a function of Python {ours} cannot be executed by the runtime's Python {theirs}, and not travel as source: "
        f"{reason}",
        hint=f"run this program with Python {theirs}; or let the function use its arguments and modules only",
    )


def _ask(session: Session) -> Place:
    with session._hold() as held:
        held.require_python("a remote function")
    words = session._run(_PROBE, lambda event: None, WatchLimits(), shown=None).stdout.split()
    if len(words) != 4 or words[0] != "python":
        raise errors.UsageError(
            "remote functions need a session whose kernel runs Python",
            name="NotPython",
            hint="Client.session(kernel_name='python3')",
        )
    return Place([int(words[1]), int(words[2])], words[3] == "True")


def pack(thing: Any, target: IO[bytes]) -> None:
    """Write a pickle in which functions are byte code.

    Raises:
        errors.MissingExtra: cloudpickle is missing here. errors.UsageError: (`NotPicklable`) it cannot be pickled.
    """
    try:
        import cloudpickle
        from cloudpickle.cloudpickle import list_registry_pickle_by_value as by_value
    except ImportError as error:
        raise errors.MissingExtra(
            "remote functions need cloudpickle, which the extra 'remote' installs",
            hint='pip install "lecoder-cgpu[remote]"',
        ) from error
    with _lock:  # what is registered holds for all threads
        ours = [module for module in _modules_of(thing[0]) if module.__name__ not in by_value()]
        for module in ours:
            cloudpickle.register_pickle_by_value(module)
        try:
            _written(lambda: cloudpickle.dump(thing, target, 5))
        finally:
            for module in ours:
                cloudpickle.unregister_pickle_by_value(module)


def _modules_of(function: Callable[..., Any]) -> list[ModuleType]:
    """The loaded modules of the function's own package, which the runtime does not have; none of a library's."""
    plain = inspect.unwrap(getattr(function, "__func__", function))
    package = (getattr(plain, "__module__", None) or "__main__").partition(".")[0]
    if package in ("__main__", "lecoder_cgpu") or not isinstance(plain, FunctionType) or _importable(plain):
        return []
    return [
        module
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] == package and isinstance(module, ModuleType)
    ]


def pack_data(thing: Any, target: IO[bytes]) -> None:
    """Write a pickle that every Python can read: of data, and of what can be imported there."""
    _written(lambda: pickle.dump(thing, target, 5))


def _written(write: Callable[[], None]) -> None:
    try:
        write()
    except Exception as error:
        raise errors.UsageError(
            f"the function or an argument cannot be pickled: {error}",
            name="NotPicklable",
            hint="leave out open files, locks and connections; open them inside the function",
        ) from error


def of(function: Callable[..., Any]) -> Source:
    """A function as source, with the functions of this program that it calls.

    Raises:
        Unfit: it needs more than that.
    """
    behind = plain(function)
    if not isinstance(behind, FunctionType):
        raise Unfit("it is no function that was written with `def`")
    found = Source(behind.__name__)
    _add(found, behind)
    return found


def plain(thing: Any) -> Any:
    """The function behind `@remote`."""
    return getattr(thing, "__wrapped__", thing) if hasattr(thing, "submit") else thing


def _add(found: Source, function: FunctionType) -> None:
    if function.__code__.co_freevars:
        raise Unfit(f"{function.__name__} uses variables of the function around it")
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, TypeError, SyntaxError):
        raise Unfit(f"the source of {function.__name__} is not known") from None
    if not isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef):
        raise Unfit("it is no function that was written with `def`")
    tree.decorator_list = []
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
    found.parts[function.__name__] = ast.unparse(tree)
    for name in sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}):
        if name in function.__globals__ and name not in found.modules | found.values | found.parts:
            _use(found, name, plain(function.__globals__[name]))


def _use(found: Source, name: str, thing: Any) -> None:
    """Add what a function calls `name`."""
    if isinstance(thing, ModuleType):
        found.modules[name] = thing.__name__
    elif isinstance(thing, FunctionType) and (thing.__module__ == "__main__" or not _importable(thing)):
        if thing.__name__ != name:
            raise Unfit(f"{name} is another name of {thing.__name__}")
        _add(found, thing)
    elif getattr(thing, "__module__", None) == "__main__" or getattr(type(thing), "__module__", None) == "__main__":
        raise Unfit(f"it uses {name}, which only this program knows")
    else:
        found.values[name] = thing


def _importable(function: FunctionType) -> bool:
    """Whether a function belongs to a library, which the runtime may have, too."""
    return "site-packages" in function.__code__.co_filename or function.__module__ in sys.stdlib_module_names
