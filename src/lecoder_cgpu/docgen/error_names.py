"""The names of errors that users may rely on, read from the source; used when the reference is written.

A name is made in one of four ways, and each is looked for: a class of `errors`; `errors.X(..., name="Name")`; a class
followed by a name among the arguments of a call (`_info(errors.RuntimeFailure, "Killed", ...)`); and a refusal of the
helper (`Problem("Name", ...)`, `Failure("Name", ...)`), whose class the helper's client chooses.
"""

from __future__ import annotations

import ast
import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .. import errors
from ..guest import trees
from ..helper import answers, file_errors

PLACE = "…"  # stands for what differs from one message to the next


@dataclass
class Named:
    """A name, the class that it belongs to, and when it is used."""

    name: str
    kind: type[errors.Error]
    exit_status: int
    when: list[str] = field(default_factory=list)


def names() -> list[Named]:
    """Every name that the source gives to an error, in alphabetical order; a name with two codes comes twice."""
    found: dict[tuple[str, int], Named] = {}
    classes = {kind.__name__: kind for kind in errors.subclasses(errors.Error)}
    for kind in classes.values():
        if kind is not errors.CodeFailure:
            own = kind.description if "code" in vars(kind) else " ".join((kind.__doc__ or "").split())
            found[kind.__name__, kind.code] = Named(kind.__name__, kind, kind.exit_status, [own])
    for name, kind, exit_status, message in _calls():
        if name == PLACE or (name in classes and classes[name].code == kind.code):
            continue
        entry = found.setdefault((name, kind.code), Named(name, kind, exit_status))
        if message not in entry.when and len(re.findall(r"[a-z]", message)) > 8:
            entry.when.append(message)
    for entry in found.values():
        entry.when = sorted(entry.when) or [entry.kind.description]
    return sorted(found.values(), key=lambda entry: (entry.name, entry.kind.code))


def _calls() -> Iterator[tuple[str, type[errors.Error], int, str]]:
    """Name, class, exit status and message of every error that some call makes."""
    package = Path(errors.__file__).parent
    for path in sorted(package.rglob("*.py")):
        if path.is_relative_to(package / "testing"):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                yield from _call(node)
    for number, name in sorted(trees.ERRNOS.items()):
        kind = file_errors.KINDS.get(name, errors.TransferError)
        yield name, kind, kind.exit_status, f"the operating system says {errno.errorcode[number]}"


def _call(node: ast.Call) -> Iterator[tuple[str, type[errors.Error], int, str]]:
    texts = [_text(item) for item in node.args]
    given = {item.arg: _text(item.value) for item in node.keywords}
    called = ast.unparse(node.func).rpartition(".")[2]
    kind = _kind(node.func)
    if kind is not None and given.get("name"):
        status = next((item.value for item in node.keywords if item.arg == "exit_status"), None)
        fixed = status.value if isinstance(status, ast.Constant) else kind.exit_status
        yield given["name"], kind, int(str(fixed)), (texts or [""])[0]
    elif called in ("Problem", "Failure") and len(texts) == 2 and re.fullmatch(r"\w+", texts[0]):
        if called == "Problem":
            kind = file_errors.KINDS.get(texts[0], errors.TransferError)
        else:
            kind, _ = answers.REFUSALS.get(texts[0], (errors.InternalError, None))
        yield texts[0], kind, kind.exit_status, texts[1]
    elif len(texts) > 2 and (kind := _kind(node.args[0])) is not None and re.fullmatch(r"[A-Z]\w+", texts[1]):
        yield texts[1], kind, kind.exit_status, texts[2]


def _kind(node: ast.expr) -> type[errors.Error] | None:
    """The class that `errors.X` names."""
    if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "errors"):
        return None
    found = getattr(errors, node.attr, None)
    return found if isinstance(found, type) and issubclass(found, errors.Error) else None


def _text(node: ast.expr) -> str:
    """The fixed part of a text, with `PLACE` for what is put in; the same for anything that is no text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(item) for item in node.values)
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    return PLACE
