"""How `--help` looks on a terminal: wrapped at words, in columns. `help_page` says what is on a page.

Most pages come from `pages/`, so this module may import nothing but the standard library.
"""

from __future__ import annotations

import os
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import config
from . import own_commands

NARROWEST = 40  # columns; a narrower terminal wraps by itself
WIDEST = 80
TWO_COLUMNS = 60  # columns of a page from which on there is room for names beside their meaning
NAMES = 30  # columns that names may take there
FEW_NAMES = 10  # and on narrower pages

# A part of a page: ["usage", LINE], ["text", PARAGRAPHS], ["line", LINE], or a list whose names take at least COLUMNS:
# ["list", TITLE, COLUMNS, [[NAME, MEANING], …]]. Lists, as in JSON.
Block = list[Any]


def kept(words: Sequence[str]) -> list[Block] | None:
    """The page of the command of these words; None if there is no such command, or it is called with more than that."""
    if not all(re.fullmatch("[a-z-]+", word) for word in words):
        return None
    try:
        content = Path(__file__).with_name("pages").joinpath(file_name(words)).read_bytes()
    except OSError:
        return None
    import json

    blocks: list[Block] = json.loads(content)
    return blocks


def file_name(words: Sequence[str]) -> str:
    """Where the page of a command is kept."""
    return "_".join(["lecoder-cgpu", *words]) + ".json"


def columns() -> int:
    """How wide a page may be: as the terminal, or as COLUMNS says. (`shutil` would say so, and import compressors.)"""
    given = config.environment("COLUMNS") or ""
    try:
        here = int(given) if given.isdecimal() else os.get_terminal_size(sys.__stdout__.fileno()).columns  # type: ignore[union-attr]
    except (AttributeError, ValueError, OSError):
        here = 0
    return min(here or WIDEST, WIDEST)


def render(blocks: Sequence[Block], columns: int) -> str:
    """The text of a page, for a terminal of this many columns."""
    width = max(columns, NARROWEST) - 2
    return own_commands.as_typed("\n\n".join("\n".join(_lines(block, width)) for block in blocks))


def _lines(block: Block, width: int) -> list[str]:
    match block:
        case ["usage", line]:
            return _wrapped(f"Usage: {line}", width, "    ")
        case ["text", text]:
            return _paragraphs(text, width)
        case ["list", title, least, rows]:
            return [f"{title}:", *_rows(rows, least, width)]
        case [_, line]:
            return _own_line(line, width)
    raise AssertionError(block)


def _paragraphs(text: str, width: int) -> list[str]:
    """Paragraphs; one that begins with `\\b` has lines of its own."""
    lines: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
        first, _, rest = paragraph.partition("\n")
        if first.strip() == "\b":
            found = [line for one in rest.splitlines() for line in _own_line(one.rstrip(), width - 2)]
        else:
            found = _wrapped(" ".join(paragraph.split()), width - 2)
        lines += ["", *(f"  {line}" for line in found)]
    return lines[1:]


def _rows(rows: Sequence[tuple[str, str]], least: int, width: int) -> list[str]:
    """Names and what they mean, in two columns; narrow ones on a narrow terminal."""
    longest = max((len(name) for name, _ in rows), default=0)
    column = min(max(longest, least), NAMES) if width >= TWO_COLUMNS else min(longest, FEW_NAMES)
    hanging = " " * (column + 4)
    found: list[str] = []
    for name, text in rows:
        names = _wrapped_name(name, width - 2)
        lines = _wrapped(" ".join(text.split()), width - len(hanging))
        if len(names) == 1 and len(name) <= column and lines:
            found.append(f"  {name:<{column}}  {lines.pop(0)}")
        else:
            found += [f"  {part}" for part in names]
        found += [hanging + line for line in lines]
    return found


def _wrapped(text: str, width: int, hanging: str = "") -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False)


def _wrapped_name(name: str, width: int) -> list[str]:
    """The names of an option and its value; too long a list of choices goes on in the next line."""
    if len(name) <= width:
        return [name]
    lines = [""]
    for part in re.findall(r"[^ |]+[ |]*", name):
        if lines[-1].strip() and len((lines[-1] + part).rstrip()) > width:
            lines.append("    ")
        lines[-1] += part
    return [line.rstrip() for line in lines]


def _own_line(line: str, width: int) -> list[str]:
    """A line that stands for itself, such as an example with a remark. Too long a command goes on behind a backslash,
    as the shell reads it."""
    if len(line) <= width:
        return [line]
    code, _, remark = (part.strip() for part in re.match(r"(.*?\S)(\s{3,}|$)(.*)", line).groups())  # type: ignore[union-attr]
    if "lecoder-cgpu" not in code:
        return _wrapped(line, width, "    ")
    lines = [""]
    for word in re.findall(r"""(?:[^\s'"]|'[^']*'|"[^"]*"|['"])+""", code):
        if lines[-1].strip() and len(lines[-1]) + len(word) + 1 > width - 2:
            lines[-1] += " \\"
            lines.append("    " + word)
        else:
            lines[-1] += (" " if lines[-1].strip() else "") + word
    return lines + ["    " + part for part in _wrapped("# " + remark, width - 4)] if remark else lines
