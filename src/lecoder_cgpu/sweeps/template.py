"""A command with `{name}` in it, and what becomes of it for one item. Pure.

Only `{name}` of a parameter and `{key}` are replaced; any other braces stay, so that JSON and awk need no care. `{{` is
a brace in any case, and so is the `}}` that closes it. What is nearly a parameter's name is refused: it would run every
item with the same text.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence

from .. import errors
from ..files import plan
from ..system import redaction
from .grid import KEY, Item

_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
_FORMATTED = re.compile(r"\s*([A-Za-z_]\w*)\s*([:!.\[].*)?")
NEAR = 0.7  # of difflib's ratio, from which on one name is taken for another


def expand(text: str, item: Item, quote: Callable[[str], str] = str) -> str:
    """The text with the item's values.

    Args:
        quote: applied to each value.
    """
    values = {**item.values, KEY: item.key}
    opened = 0

    def replaced(found: re.Match[str]) -> str:
        nonlocal opened
        if found[0] == "{{":
            opened += 1
            return "{"
        if found[0] == "}}":
            if not opened:
                return found[0]
            opened -= 1
            return "}"
        return quote(values[found[1]]) if found[1] in values else found[0]

    return _BRACES.sub(replaced, text)


def command(words: Sequence[str], item: Item) -> list[str]:
    """The words of an item's command. A single word with white space is a line for the shell, in which values are
    quoted."""
    if is_shell(words):
        return [expand(words[0], item, shlex.quote)]
    return [expand(word, item) for word in words]


def is_shell(words: Sequence[str]) -> bool:
    """Whether the command is a line for the shell."""
    return len(words) == 1 and any(character.isspace() for character in words[0])


def shown(words: Sequence[str], item: Item) -> str:
    """An item's command as a shell would read it, without the passwords in it."""
    made = redaction.words(command(words, item))
    return made[0] if is_shell(words) else shlex.join(made)


def used(texts: Iterable[str], names: Iterable[str]) -> set[str]:
    """The names that are replaced in these texts."""
    known = {*names, KEY}
    return {found[1] for text in texts for found in _BRACES.finditer(text) if found[1] in known}


def is_read(words: Sequence[str], name: str) -> bool:
    """Whether the command names the variable that has a parameter."""
    return any(f"LECODER_CGPU_PARAM_{name}" in word for word in words)


def check(texts: Sequence[str], names: Sequence[str]) -> None:
    """Refuse what is nearly the name of a parameter, and any other name where no parameter is used.

    Raises:
        errors.UsageError: (`UnknownParameter`)
    """
    known = [*names, KEY]
    unused = not used(texts, names) and not any(is_read(texts, name) for name in names)
    for text in texts:
        for found in _BRACES.finditer(text):
            inner = found[1]
            if inner is None or inner in known:
                continue
            meant = _meant(inner, known)
            if meant is None and unused and inner.isidentifier():
                raise errors.UsageError(
                    f"{found[0]} is not a parameter, and no parameter is in the command: every item would be the same",
                    name="UnknownParameter",
                    hint=f"the parameters are {', '.join(known)} (another: -p NAME=A,B); else write {{{found[0]}}}",
                )
            if meant is not None:
                raise errors.UsageError(
                    f"{found[0]} is not a parameter; did you mean {{{meant}}}?",
                    name="UnknownParameter",
                    hint=f"the parameters are {', '.join(known)} (another: -p NAME=A,B); else write {{{found[0]}}}",
                )


def _meant(inner: str, known: Sequence[str]) -> str | None:
    """The parameter that is probably meant."""
    found = _FORMATTED.fullmatch(inner)
    if found is None:
        return None
    if found[1] in known:  # with blanks, or as Python formats
        return found[1]
    if found[2] is not None:
        return None
    folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(found[1].casefold(), folded, n=1, cutoff=NEAR)
    return folded[near[0]] if near else None


def expand_pull(spec: str, item: Item) -> str:
    """`PATH[:LOCAL]` of --pull with the item's values. No value may lead out of the folder here that stands before it.

    Raises:
        errors.UsageError: (`UnsafeValue`) one would.
    """
    remote, local = plan.split_pull(spec)
    for name in used([spec], item.values):
        value = item.values.get(name, "")
        splits = ":" in value and name in used([remote], item.values)  # it would end the path on the runtime
        leaves = local is not None and name in used([local], item.values) and not _stays(value)
        if splits or leaves:
            raise errors.UsageError(
                f"--pull {spec!r}: with {name}={value!r}, its result would land elsewhere",
                name="UnsafeValue",
                hint=f"name the place by the item's key: --pull '{remote}:results/{{key}}'",
            )
    return expand(spec, item)


def _stays(value: str) -> bool:
    """Whether a value as a part of a path leads to where the path's beginning says."""
    return not value.startswith(("/", "\\", "~")) and ".." not in re.split(r"[/\\]", value)


def check_targets(pulls: Sequence[str], items: Iterable[Item]) -> None:
    """Refuse results of several items that would land in the same place.

    Args:
        pulls: each `PATH[:LOCAL]`.

    Raises:
        errors.UsageError: (`SameTarget`), or (`UnsafeValue`), see `expand_pull`.
    """
    for spec in pulls:
        plan.split_pull(spec)
    taken: dict[str, tuple[str, str]] = {}
    for item in items if pulls else ():
        for spec in pulls:
            remote, local = plan.split_pull(expand_pull(spec, item))
            target = os.path.normpath(_target(remote, local))
            other = taken.setdefault(target, (item.key, spec))
            if other != (item.key, spec):
                both = "of several items" if other[0] != item.key else f"of {other[1]!r} and {spec!r}"
                raise errors.UsageError(
                    f"--pull {spec!r}: results {both} would land in {target}",
                    name="SameTarget",
                    hint=f"give each a place of its own: --pull '{plan.split_pull(spec)[0]}:results/{{key}}'",
                )


def _target(remote: str, local: str | None) -> str:
    name = plan.remote_name(remote)
    if local is None or local.endswith(("/", os.sep)):
        return os.path.join(local or ".", name)
    return local


def variables(item: Item, sweep: str) -> Mapping[str, str]:
    """What the item's command finds in its environment."""
    return {
        **{f"LECODER_CGPU_PARAM_{name}": value for name, value in item.values.items()},
        "LECODER_CGPU_SWEEP": sweep,
        "LECODER_CGPU_SWEEP_KEY": item.key,
    }
