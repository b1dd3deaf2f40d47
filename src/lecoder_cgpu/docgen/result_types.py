"""The types of the library's results, for type checkers: `results.pyi`, made from the classes of `models`."""

from __future__ import annotations

import inspect
import textwrap
import types
from collections.abc import Iterable, Iterator
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from msgspec import Struct, UnsetType, structs

from .. import results

HEAD = '''"""What calls of the library return. Made by `lecoder_cgpu.reference write`; edit `models/`."""

from typing import Any, Literal, overload

from msgspec import Struct

'''
RESULT = '''
class Result(Struct, frozen=True, kw_only=True):
    """What every result can do."""

    def to_dict(self) -> dict[str, Any]:
        """The document, as `--json` prints it."""
'''


def stub() -> str:
    """The content of the file."""
    kinds = _parts(results.document_of(name) for name in results.__all__ if name != "Result")
    modules = sorted({kind.__module__.rpartition(".")[2] for kind in kinds})
    names = ", ".join(f"{name} as _{name}" for name in modules)
    words = ", ".join(f'"{name}"' for name in ("Result", *map(_name, kinds)))
    listed = textwrap.fill(words, 116, initial_indent="    ", subsequent_indent="    ")
    parts = [f"{HEAD}from .models import {names}\n\n__all__ = [\n{listed},\n]\n", RESULT]
    parts += ["\n".join(_class(kind)) + "\n" for kind in kinds]
    parts += [
        f"@overload\ndef of(document: _{kind.__module__.rpartition('.')[2]}.{kind.__name__}) -> {_name(kind)}: ..."
        for kind in kinds
        if kind.__base__ is Struct  # others are parts of documents only
    ]
    parts.append("ABSENT: dict[str, str]\nRENAMED: dict[str, str]")
    parts.append("def kind_of(document: type[Struct]) -> type[Result]: ...")
    parts.append("def document_of(name: str) -> type[Struct]: ...")
    return "\n".join(parts) + "\n"


def _parts(kinds: Iterable[type[Struct]]) -> list[type[Struct]]:
    """These classes and those of their fields, by name."""
    found: dict[str, type[Struct]] = {}

    def add(hint: Any) -> None:
        if isinstance(hint, type) and issubclass(hint, Struct):
            if _name(hint) in found:
                return
            found[_name(hint)] = hint
            inner = list(get_type_hints(hint).values())
        else:
            inner = list(get_args(hint))
        for part in inner:
            add(part)

    for kind in kinds:
        add(kind)
    return [found[name] for name in sorted(found)]


def _class(kind: type[Struct]) -> Iterator[str]:
    yield f"class {_name(kind)}(Result, frozen=True, kw_only=True):"
    lines = inspect.cleandoc(kind.__doc__ or "").splitlines()
    yield (
        '    """'
        + "\n".join([lines[0], *(f"    {line}".rstrip() for line in lines[1:])])
        + ('"""\n' if len(lines) == 1 else '\n    """\n')
    )
    hints = get_type_hints(kind)
    for field in structs.fields(kind):
        shown = type_of(hints[field.name])
        yield f"    {field.name}: {shown if results.ABSENT.get(field.name) is None else shown.removesuffix(' | None')}"


def type_of(hint: Any) -> str:
    """A type as it is written; what may be absent may be None."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        shown = [type_of(item) for item in inner if item not in (UnsetType, type(None))]
        return " | ".join([*shown, *(["None"] if len(shown) < len(inner) else [])])
    if origin is Literal:
        return f"Literal[{', '.join(map(_literal, inner))}]"
    if origin is not None:
        return f"{origin.__name__}[{', '.join(map(type_of, inner))}]"
    return "Any" if hint is Any else _name(hint)


def _literal(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _name(kind: type) -> str:
    return results.RENAMED.get(kind.__name__, kind.__name__)
