"""Errors are told apart by their class and their HTTP status; their names are for users."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.docgen.error_names import names
from tests.support.source import nodes, trees

CLASSES = {kind.__name__: kind for kind in errors.subclasses(errors.Error)}


def is_name(node: ast.expr) -> bool:
    """Whether it may be the name of an error, or a collection of them: `Name`, a constant of a module, or a tuple."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and re.match(r"[A-Z][a-z]", node.value) is not None
    if isinstance(node, (ast.Tuple, ast.Set, ast.List)):
        return any(is_name(item) for item in node.elts)
    called = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return re.fullmatch(r"_?[A-Z][A-Z_]+", called) is not None


def decisions(tree: ast.AST) -> Iterator[str]:
    """Every place that compares an attribute `name` with the name of an error."""
    for node in nodes(tree):
        sides: list[ast.expr] = []
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in ("startswith", "endswith"):  # of a text; files have suffixes by constant
                sides = [node.func.value, *(item for item in node.args if not isinstance(item, ast.Name))]
        elif isinstance(node, ast.Match):
            patterns = [
                part.value for case in node.cases for part in ast.walk(case) if isinstance(part, ast.MatchValue)
            ]
            sides = [node.subject, *patterns]
        if any(isinstance(side, ast.Attribute) and side.attr == "name" for side in sides) and any(map(is_name, sides)):
            yield ast.unparse(node)


def test_no_name_decides() -> None:
    """Nothing acts upon the name of an error: a class is caught, or the HTTP status is looked at."""
    assert {path.name: found for path, tree in trees().items() if (found := list(decisions(tree)))} == {}


@pytest.mark.parametrize(
    "line",
    [
        'error.name == "HelperDead"',
        '"HelperDead" != error.name',
        'cause.name in ("HelperDead", "HelperSilent")',
        "error.name not in _NO_HELPER",
        "error.name in attempts.HOPELESS",
        'error.name.startswith("Http4")',
        'match error.name:\n    case "HelperDead" | "HelperSilent": pass',
    ],
)
def test_a_decision_is_seen(line: str) -> None:
    """The check can fail."""
    assert list(decisions(ast.parse(line)))


@pytest.mark.parametrize("line", ['os.name == "nt"', "record.name == other.name", 'error.name or "HelperDead"'])
def test_other_names_may_be_compared(line: str) -> None:
    """The check does not see what is not there."""
    assert not list(decisions(ast.parse(line)))


def test_a_class_is_raised_where_there_is_one() -> None:
    """`name=` gives no error the name of a class that has the same code: catching the class must find it."""
    for path, tree in trees().items():
        for node in nodes(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLASSES:
                for item in node.keywords:
                    if item.arg == "name" and isinstance(item.value, ast.Constant) and item.value.value in CLASSES:
                        kind, wanted = CLASSES[node.func.attr], CLASSES[item.value.value]
                        assert kind is wanted or kind.code != wanted.code, f"{path.name}:{node.lineno}"


def test_the_table_has_the_classes_with_a_code() -> None:
    """A class without a code of its own is no row, and has its parent's code, category and exit status."""
    rows = list(errors.tree())
    for kind in CLASSES.values():
        if kind not in rows and kind is not errors.CodeFailure:
            parent = kind.__mro__[1]
            assert parent in rows
            assert (kind.code, kind.category, kind.exit_status) == (parent.code, parent.category, parent.exit_status)


def test_the_name_of_a_class_is_the_name_in_documents() -> None:
    """A class of its own changes no document."""
    error = errors.HelperDead("the helper died")
    assert (error.name, error.code, error.exit_status, error.retryable) == ("HelperDead", 1006, 74, True)
    assert errors.UnexpectedAnswer("x").retryable is False


def test_names_are_found_in_the_source() -> None:
    """The page of names has what classes, keywords, tables and the helper's refusals call an error."""
    found = {(entry.name, entry.kind.code, entry.exit_status) for entry in names()}
    assert {
        ("HelperDead", 1006, 74),
        ("SessionNotFound", 2005, 66),
        ("Killed", 1004, 1),
        ("RunNotFound", 2005, 66),
        ("DiskFull", 1006, 74),
        ("RateLimited", 2002, 69),
        ("Http…", 1006, 74),
    } <= found
    assert all(entry.when and all(entry.when) for entry in names())
