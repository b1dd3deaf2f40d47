"""The source of the package and of the tests, parsed once for all that look at it."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import lecoder_cgpu

PACKAGE = Path(lecoder_cgpu.__file__).parent
TESTS = Path(__file__).parents[1]


@cache
def trees(folder: Path = PACKAGE) -> dict[Path, ast.Module]:
    """Every module below a folder, by its path."""
    return {path: ast.parse(path.read_text("utf-8")) for path in sorted(folder.rglob("*.py"))}


@cache
def nodes(tree: ast.AST) -> tuple[ast.AST, ...]:
    """Every node of a module: walking it anew for each question takes most of the time."""
    return tuple(ast.walk(tree))
