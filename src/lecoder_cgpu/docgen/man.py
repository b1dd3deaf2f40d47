"""The reference as one manual page, in the man(7) language."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..models.reference import Reference


def page(reference: Reference) -> str:
    """`lecoder-cgpu.1`."""
    lines = [
        f'.TH LECODER-CGPU 1 "" "lecoder-cgpu {reference.version}" "User Commands"',
        ".SH NAME",
        r"lecoder-cgpu \- run code on Colab GPUs, Jupyter servers and a local runtime",
        ".SH SYNOPSIS",
        r".B lecoder-cgpu",
        "COMMAND [OPTIONS] ...",
        ".SH COMMANDS",
    ]
    for command in reference.commands:
        lines += [f".SS {_text(command.name)}", _text(command.summary), ".PP", f".B {_text(command.usage)}"]
        for paragraph in command.description:
            lines += [".PP", _text(paragraph)]
        for option in command.options:
            value = f" {option.value}" if isinstance(option.value, str) else ""
            lines += [".TP", f".B {_text(', '.join(option.names) + value)}", _text(option.help)]
    lines.append(".SH EXIT STATUS")
    for status, meaning in reference.exit_codes.items():
        lines += [".TP", f".B {status}", _text(meaning)]
    lines.append(".SH ENVIRONMENT")
    for item in reference.settings:
        lines += [".TP", f".B {item.env}", _text(item.help)]
    for name, meaning in reference.variables.items():
        lines += [".TP", f".B {name}", _text(meaning)]
    lines.append(".SH FILES")
    for path, meaning in reference.files.items():
        lines += [".TP", f".I {_text(path)}", _text(meaning)]
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    """Text in which nothing is taken for a request or an escape."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + escaped if escaped.startswith((".", "'")) else escaped
