"""One command, error, exit status or setting of the reference, short enough for an agent's context."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from ..models.reference import CommandReference, OptionReference, Reference, ReferencePart
from .pages import COMMON

if TYPE_CHECKING:
    from .error_names import Named

NAMES = 60  # names of errors that one code may list
TIMES = 5  # messages of one name
COMMON_LINE = "Also: --json, -s/--session NAME, --backend NAME, --profile NAME, -c/--config PATH, --no-input."


def names(reference: Reference) -> list[str]:
    """What can be asked for."""
    return [
        *(item.name for item in reference.commands),
        *(f"error {code}" for code in dict.fromkeys(item.code for item in reference.errors)),
        *(f"exit {status}" for status in reference.exit_codes),
        *(f"setting {item.key}" for item in reference.settings),
    ]


def of_command(reference: Reference, name: str) -> ReferencePart | None:
    """A command; a group names its commands."""
    found = next((item for item in reference.commands if item.name == name), None)
    if found is None:
        return None
    below = {
        item.name: item.summary for item in reference.commands if item.name.startswith(name + " ") and item.name != name
    }
    return ReferencePart(
        version=reference.version,
        name=name,
        usage=found.usage,
        text=[found.summary, *found.description],
        examples=found.examples,
        options=_options(found),
        commands=below or UNSET,
    )


def _options(command: CommandReference) -> dict[str, str]:
    return {_names(item): _help(item) for item in command.options if item.names[-1] not in COMMON}


def _names(option: OptionReference) -> str:
    return ", ".join(option.names) + (f" {option.value}" if isinstance(option.value, str) else "")


def _help(option: OptionReference) -> str:
    default = f" Default: {option.default}." if isinstance(option.default, str) else ""
    return option.help + default


@cache
def _named() -> list[Named]:
    from .error_names import names as found

    return found()


def of_error(reference: Reference, text: str) -> ReferencePart | None:
    """An error, by its code, its category, the name in `error.name`, or an exit status."""
    kinds = [item for item in reference.errors if text in (str(item.code), item.category)]
    if kinds:
        known = sorted({item.name for item in _named() if item.kind.code == kinds[0].code})
        more = [f"and {len(known) - NAMES} more: docs/reference/error-names.md"] if len(known) > NAMES else []
        first = kinds[0]
        return ReferencePart(
            version=reference.version,
            name=f"error {first.code}",
            text=[f"{first.category}: {' '.join(dict.fromkeys(item.description for item in kinds))}"],
            error_codes=[first.code],
            exit_codes=sorted({item.exit_code for item in kinds}),
            retryable=any(item.retryable for item in kinds),
            names=[*known[:NAMES], *more],
        )
    entries = [item for item in _named() if item.name.lower() == text.lower()]
    if entries:
        return ReferencePart(
            version=reference.version,
            name=f"error {entries[0].name}",
            text=[message for item in entries for message in item.when[:TIMES]],
            error_codes=sorted({item.kind.code for item in entries}),
            exit_codes=sorted({item.exit_status for item in entries}),
            retryable=any(item.kind.retryable for item in entries),
        )
    return of_exit(reference, text)


def of_exit(reference: Reference, status: str) -> ReferencePart | None:
    """An exit status, with the codes of the errors that end with it."""
    if status not in reference.exit_codes:
        return None
    codes = sorted({item.code for item in reference.errors if str(item.exit_code) == status})
    return ReferencePart(
        version=reference.version,
        name=f"exit status {status}",
        text=[reference.exit_codes[status]],
        error_codes=codes or UNSET,
        exit_codes=[int(status)],
    )


def of_setting(reference: Reference, name: str) -> ReferencePart | None:
    """A setting, by its key or its variable; or another variable or file."""
    for item in reference.settings:
        if name.lower() in (item.key.lower(), item.env.lower()):
            text = [item.help, f"In config.json: {item.key}. As a variable: {item.env}."]
            text += [f"Default: {item.default}."] if isinstance(item.default, str) else []
            text += ["It is a secret."] if item.secret else []
            return ReferencePart(version=reference.version, name=f"setting {item.key}", text=text)
    others = {**reference.variables, **reference.files}
    return ReferencePart(version=reference.version, name=name, text=[others[name]]) if name in others else None


def text(part: ReferencePart) -> str:
    """For people."""
    lines = [part.usage] if isinstance(part.usage, str) else [part.name]
    lines += ["", *part.text]
    numbers: dict[str, Any] = {"code": part.error_codes, "exit": part.exit_codes}
    lines += [f"{label}: {', '.join(map(str, found))}" for label, found in numbers.items() if isinstance(found, list)]
    if part.retryable is True:
        lines.append("The same may work later.")
    if isinstance(part.names, list):
        lines.append("names: " + ", ".join(part.names))
    if isinstance(part.examples, list) and part.examples:
        lines += ["", *part.examples]
    for entries in (part.commands, part.options):
        if isinstance(entries, dict) and entries:
            lines += ["", *(f"{name}\n    {meaning}" for name, meaning in entries.items())]
    if isinstance(part.usage, str):
        lines += ["", COMMON_LINE]
    return "\n".join(lines)
