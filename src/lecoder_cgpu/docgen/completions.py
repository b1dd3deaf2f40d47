"""What shells complete: commands, options and kinds of values, as one file that `cli/completing.py` reads. A key that
is pressed waits for the answer, and describing the commands anew would take ten times as long as reading it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

import click

# What an option or an argument stands for, by its name. Others with a value are completed as files.
OPTIONS = {
    "--session": "session",
    "--profile": "profile",
    "--gpu": "gpu",
    "--tpu": "tpu",
    "--kernel-name": "kernel",
    "--parameter": "parameter",
    "--attach": "job",
}
ARGUMENTS = {
    "session": "session",
    "sessions": "session",
    "job": "job",
    "names": "job",
    "run": "job",
    "profile": "profile",
    "sessions ensure name": "session",
    "sessions create name": "session",
    "profile use name": "profile",
}


def content(root: click.Group, old: Collection[str]) -> bytes:
    """The file: for each command its own commands (`c`), the kind of each option's value (`o`, null for none) and of
    each argument (`a`), and what options mean (`h`). Options of every command stand at the root alone.

    Args:
        old: names of commands that are left out, as they are on the pages of help.
    """
    table = dict(_described(root, "", old))
    everywhere = table[""]["o"]
    for path, found in table.items():
        if path:
            found["o"] = {name: kind for name, kind in found["o"].items() if everywhere.get(name, "") != kind}
            found["h"] = {name: text for name, text in found["h"].items() if name in found["o"]}
    lines = [f"{json.dumps(path)}:{_compact(found)}" for path, found in sorted(table.items())]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()  # a line for each command, so that changes can be merged


def _compact(found: dict[str, Any]) -> str:
    return json.dumps(found, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _described(command: click.Command, path: str, old: Collection[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    context = click.Context(command)
    found: dict[str, Any] = {"o": {}, "h": {}, "a": []}
    for item in command.get_params(context):
        if isinstance(item, click.Option) and not item.hidden:
            names = [*item.opts, *item.secondary_opts]
            found["o"].update(dict.fromkeys(names, _kind(item, names, path)))
            found["h"][max(names, key=len)] = (item.help or "").partition(". ")[0].rstrip(".")
        elif isinstance(item, click.Argument):
            found["a"].append(_kind(item, [item.name or ""], path))
    if isinstance(command, click.Group):
        below = [(name, command.get_command(context, name)) for name in command.list_commands(context)]
        shown = [(name, item) for name, item in below if item is not None and not item.hidden and name not in old]
        texts = {name: item.get_short_help_str(limit=80) for name, item in shown}
        found["c"] = {name: text for name, text in texts.items() if not text.startswith("The same as")}
        for name, child in shown:
            yield from _described(child, f"{path} {name}".strip(), old)
    yield path, found


def _kind(item: click.Parameter, names: list[str], path: str) -> Any:
    if isinstance(item, click.Option) and (item.is_flag or item.count):
        return None
    if isinstance(item.type, click.Choice):
        return list(item.type.choices)
    if isinstance(item, click.Option):
        return next((OPTIONS[name] for name in names if name in OPTIONS), "file")
    return ARGUMENTS.get(f"{path} {names[0]}", ARGUMENTS.get(names[0], "file"))
