"""What parameters a notebook has: those that its cell tagged `parameters` sets. Pure.

Source: papermill's `--help-notebook`; the type is that of an annotation or of a comment `# type: T`, else that of the
value, and the rest of the comment explains the parameter.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from dataclasses import dataclass
from typing import Any

from ..jupyter.kernelspecs import PYTHON
from .document import PARAMETERS, tags
from .kernels import language

_LINE = re.compile(
    r"^(?:(?:let|const|var|val|export|local|global)\s+)?(?P<name>[^\W\d][\w.]*)(?:\s*:[^=]*)?\s*(?:<-|=(?!=))\s*(?P<value>.*?)\s*;?\s*(?:(?:#|//)\s*(?P<comment>.*))?$"
)
_TYPE = re.compile(r"^type:\s*(\S+)\s*(.*)$")


@dataclass(frozen=True)
class Parameter:
    """A parameter: its name, its default as source, its type if that is known, and what the author says of it."""

    name: str
    default: str
    type: str = ""
    help: str = ""


def parameters(notebook: Any) -> list[Parameter] | None:
    """The parameters in order, each once, with the last default; None if no cell is tagged."""
    cell = next((cell for cell in notebook.cells if PARAMETERS in tags(cell)), None)
    if cell is None:
        return None
    try:
        found = _of_python(cell.source) if language(notebook) == PYTHON else _of_lines(cell.source)
    except (SyntaxError, ValueError, tokenize.TokenError, RecursionError):  # magics
        found = _of_lines(cell.source)
    return list({parameter.name: parameter for parameter in found}.values())


def unknown(notebook: Any, values: dict[str, Any]) -> list[str]:
    """The parameters that the cell tagged `parameters` does not set: probably misspelt. [] without such a cell, and for
    one that cannot be read."""
    cell = next((cell for cell in notebook.cells if PARAMETERS in tags(cell)), None)
    if cell is None:
        return []
    try:
        if language(notebook) == PYTHON:
            names = {node.id for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Name)}
        else:
            names = {item.name for item in _of_lines(cell.source)}
    except (SyntaxError, ValueError, RecursionError):  # magics
        return []
    return [name for name in values if name not in names]


def _of_python(source: str) -> list[Parameter]:
    tree = ast.parse(source)
    comments = {
        token.start[0]: token.string.lstrip("#").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found = []
    for node in tree.body:
        annotation = None
        match node:
            case ast.Assign(targets=targets, value=value):
                names = [target.id for target in targets if isinstance(target, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=name), annotation=kind, value=ast.expr() as value):
                names, annotation = [name], ast.get_source_segment(source, kind)
            case _:
                continue
        default = ast.get_source_segment(source, value) or ""
        kind_said, text = _commented(comments.get(node.end_lineno or 0, ""))
        said = (annotation or "").strip("'\"") or kind_said or _kind(value)
        found += [Parameter(name, default, said, text) for name in names]
    return found


def _kind(value: ast.expr) -> str:
    try:
        constant = ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return ""
    return "" if constant is None else type(constant).__name__


def _commented(comment: str) -> tuple[str, str]:
    """The type and the explanation in a comment."""
    found = _TYPE.match(comment)
    return (found[1], found[2]) if found else ("", comment)


def _of_lines(source: str) -> list[Parameter]:
    found = []
    for line in source.splitlines():
        if parts := _LINE.match(line.strip()):
            kind, text = _commented(parts["comment"] or "")
            found.append(Parameter(parts["name"], parts["value"], kind, text))
    return found
