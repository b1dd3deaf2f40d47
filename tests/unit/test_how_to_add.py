"""What docs/architecture.md says under "How to add": a step that is forgotten fails here."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from lecoder_cgpu import errors, reference
from lecoder_cgpu.backends import registry
from lecoder_cgpu.cli.app import COMMANDS, root
from lecoder_cgpu.docgen.describe import describe
from lecoder_cgpu.models.runs import Run
from tests.support.source import PACKAGE, TESTS, nodes, trees


@cache
def parsed(folder: Path) -> dict[Path, ast.Module]:
    """Every module below a folder, but for this one."""
    return {path: tree for path, tree in trees(folder).items() if path.resolve() != Path(__file__).resolve()}


@cache
def word_lists() -> list[list[str]]:
    """The texts in every list, tuple and call of the tests, in order, and the words of those that are command lines."""
    found = []
    for tree in parsed(TESTS).values():
        for node in nodes(tree):
            items = (
                node.args
                if isinstance(node, ast.Call)
                else node.elts
                if isinstance(node, (ast.List, ast.Tuple))
                else []
            )
            words = [item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str)]
            if words:
                found.append(words)
                found += [word.split() for word in words if " " in word]
    return found


# --- a command ---


def test_every_module_of_commands_is_in_the_table() -> None:
    """A module in cli/commands is named in `cli/app.py:COMMANDS`, or another one there imports it."""
    used = {module.partition(":")[0] for module, _ in COMMANDS.values()}
    folder = PACKAGE / "cli" / "commands"
    for tree in (tree for path, tree in parsed(PACKAGE).items() if path.parent == folder):
        for node in nodes(tree):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                used |= {node.module} if node.module else {alias.name for alias in node.names}
    assert {path.stem for path in folder.glob("*.py")} - {"__init__"} <= used


def test_every_command_is_tested() -> None:
    """Some test calls each command by its name."""
    described = describe(root).commands
    groups = {name.rpartition(" ")[0] for name in (item.name for item in described)}
    untested = []
    for name in (item.name for item in described if item.name not in groups):
        words = name.split()
        if not any(words == line[at : at + len(words)] for line in word_lists() for at in range(len(line))):
            untested.append(name)
    assert untested == []


def test_every_document_has_a_schema() -> None:
    """A class of `models` that reports an outcome (`errorCode`) is in the DOCUMENTS of its module, or part of one."""
    known = {kind.__name__ for kind in reference.documents().values() if isinstance(kind, type)}
    for content in reference.schemas().values():
        known |= set(json.loads(content).get("$defs", ()))
    missing = set()
    for kind in structs(msgspec.Struct):
        if kind.__module__.startswith("lecoder_cgpu.models.") and kind.__name__ not in known:
            base = any(child.__name__ in known for child in structs(kind))
            if not base and any(field.encode_name == "errorCode" for field in msgspec.structs.fields(kind)):
                missing.add(f"{kind.__module__}.{kind.__name__}")
    assert missing == set()


def structs(kind: Any) -> Iterator[Any]:
    for child in kind.__subclasses__():
        yield child
        yield from structs(child)


def test_every_schema_is_used_by_a_test() -> None:
    """Some test validates a document of each schema."""
    said = {word for line in word_lists() for word in line}
    assert set(reference.documents()) - said == set()


# --- a backend ---


def test_every_backend_is_in_the_table() -> None:
    """A module of `backends` that defines `Backend` has a line in the registry."""
    defined = {
        path.relative_to(PACKAGE / "backends").with_suffix("").as_posix().replace("/", ".")
        for path, tree in parsed(PACKAGE).items()
        if path.is_relative_to(PACKAGE / "backends") and path.name != "protocol.py"
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == "Backend"
    }
    assert defined == set(registry.BUILT_IN.values())


# --- a field of the document of a run ---


def filled() -> Iterator[str]:
    """Every attribute that is assigned, every argument of `Run(...)`, and `stdout_base64` for `f"{name}_base64"`."""
    for path, tree in parsed(PACKAGE).items():
        if path.is_relative_to(PACKAGE / "testing") or path.is_relative_to(PACKAGE / "guest"):
            continue
        for node in nodes(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                yield node.attr
            elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("Run", "cls"):
                yield from (item.arg for item in node.keywords if item.arg is not None)
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "setattr":
                yield from (name + "_base64" for name in ("stdout", "stderr") if "_base64" in ast.unparse(node.args[1]))


def test_every_field_of_a_run_is_filled() -> None:
    """Some code gives it a value."""
    assert set(Run.__struct_fields__) - set(filled()) == set()


# --- an error code ---


def test_the_drawing_is_the_tree() -> None:
    """The table at the top of `errors.py` has every class with its code and category, in order."""
    drawn = re.findall(r"[├└]── (\w+) +(\d{4}) (\w+)", errors.__doc__ or "")
    assert drawn == [(kind.__name__, str(kind.code), kind.category) for kind in errors.tree()]


def test_every_code_is_described() -> None:
    """A class with a code says what it means, and a code has one category."""
    rows = list(errors.tree())
    assert all("description" in vars(kind) for kind in rows if kind is not errors.UnknownFailure)
    assert len({kind.code for kind in rows}) == len({(kind.code, kind.category) for kind in rows})
    assert all("category" in vars(kind) for kind in rows if kind not in (errors.UnknownFailure, errors.InternalError))


# --- a setting ---


def test_every_setting_is_read() -> None:
    """Some code asks for each setting by its key."""
    from lecoder_cgpu import config

    constants = Counter(
        node.value
        for tree in parsed(PACKAGE).values()
        for node in nodes(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    assert [item.key for item in config.SETTINGS if constants[item.key] < 2] == []
