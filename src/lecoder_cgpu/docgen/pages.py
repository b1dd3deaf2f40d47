"""The reference as Markdown pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..models.reference import CommandReference, ErrorReference, OptionReference, Reference
    from .error_names import Named


NOTE = "<!-- Made from the program itself by `python -m lecoder_cgpu.reference write`; edit the source, not this. -->\n"


def pages(reference: Reference) -> dict[str, str]:
    """File name -> content."""
    return {
        "commands.md": _commands(reference.commands),
        "errors.md": NOTE
        + "\n# Errors\n\n"
        + errors_table(reference)
        + "\n# Exit statuses\n\n"
        + exit_table(reference),
        "settings.md": _settings(reference),
    }


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def errors_table(reference: Reference) -> str:
    """Codes with what they mean; the retryable ones are marked."""
    rows = [
        (str(item.code), item.category, str(item.exit_code), "yes" if item.retryable else "", item.description)
        for item in reference.errors
    ]
    return table(("code", "category", "exit", "retry", "meaning"), rows)


def exit_table(reference: Reference) -> str:
    """Exit statuses with what they mean."""
    return table(("exit", "meaning"), list(reference.exit_codes.items()))


def error_names(found: list[Named]) -> str:
    """The page of the names that `error.name` can have."""
    rows = []
    for entry in found:
        more = "; …" if len(entry.when) > SHOWN else ""
        when = "; ".join(entry.when[:SHOWN]) + more
        rows.append((f"`{entry.name}`", str(entry.kind.code), str(entry.exit_status), when))
    return (
        f"{NOTE}\n# Names of errors\n\n"
        "`error.name` in a document, and `name` of an exception of the library, is one of these. They stay as they\n"
        "are. When your code raised an exception, the name is that of the exception's class instead. In a message,\n"
        "`…` stands for what differs.\n\n" + table(("name", "code", "exit", "when"), rows)
    )


SHOWN = 3  # messages of one name


def readme_tables(reference: Reference) -> str:
    """The two tables of README: each code once, and the exit statuses that belong to none."""
    codes: dict[int, list[ErrorReference]] = {}
    for item in sorted(reference.errors, key=lambda item: item.code):
        codes.setdefault(item.code, []).append(item)
    rows = [("0", "", "0", "Success.")]
    for code, items in codes.items():
        statuses = " or ".join(dict.fromkeys(str(item.exit_code) for item in items))
        rows.append((str(code), items[0].category, statuses, " ".join(item.description for item in items)))
    taken = {"0", *(str(item.exit_code) for item in reference.errors)}
    others = [(status, meaning) for status, meaning in reference.exit_codes.items() if status not in taken]
    return f"\n{table(('code', 'category', 'exit', 'when'), rows)}\n{table(('exit', 'without a code'), others)}\n"


def _commands(commands: list[CommandReference]) -> str:
    parts = [
        NOTE,
        "\n# Commands\n\nEvery command takes `--json`, `--session`, `--backend`, `--profile`, `--config` and "
        "`--no-input`, too.\n",
    ]
    for command in commands:
        parts.append(f"\n## {command.name}\n\n{command.summary}\n\n```text\n{command.usage}\n```\n")
        parts += [f"\n{paragraph}\n" for paragraph in command.description]
        if command.examples:
            parts.append("\n```text\n" + "\n".join(command.examples) + "\n```\n")
        own = [option for option in command.options if option.names[-1] not in COMMON]
        if own:
            parts.append("\n" + table(("option", "meaning"), [(_names(option), _meaning(option)) for option in own]))
    return "".join(parts)


COMMON = ("--json", "--session", "--backend", "--profile", "--config", "--no-input")


def _names(option: OptionReference) -> str:
    value = f" {option.value}" if isinstance(option.value, str) else ""
    if "|" in value:  # which would end a table's cell; escaped in code, not all readers of Markdown take it back
        value = f" {{{value.strip().replace('|', ',')}}}"
    return "`" + ", ".join(option.names) + value + "`"


def _meaning(option: OptionReference) -> str:
    notes = [option.help]
    if isinstance(option.default, str):
        notes.append(f"Default: {option.default}.")
    if option.multiple:
        notes.append("May be repeated.")
    return " ".join(notes)


def _settings(reference: Reference) -> str:
    settings = [
        (f"`{item.key}`", f"`{item.env}`", item.help, f"`{item.default}`" if isinstance(item.default, str) else "")
        for item in reference.settings
    ]
    return (
        NOTE
        + "\n# Settings\n\nThe command line wins over the environment, that over `config.json`, that over the default."
        + "\n\n"
        + table(("`config.json`", "variable", "what for", "default"), settings)
        + "\n# Variables\n\n"
        + table(("variable", "what for"), [(f"`{name}`", text) for name, text in reference.variables.items()])
        + "\n# Files\n\n"
        + table(("path", "what it holds"), [(f"`{path}`", text) for path, text in reference.files.items()])
    )
