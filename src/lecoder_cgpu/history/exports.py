"""The history as a document: a web page, a notebook, Markdown, or lines of JSON. A page has the newest run first, as it
is looked at; the others have the oldest first, as they are read on."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from ..models.history import HistoryEntry, HistoryError, StoredDisplay
from ..system.redaction import all_encodable

Image = Callable[[str], bytes | None]
FORMS = {
    "html": "a self-contained web page, with outputs and images",
    "ipynb": "a notebook, a cell for each run, with outputs and images",
    "md": "Markdown",
    "jsonl": "lines of JSON, one for each run",
}


def content(
    form: str,
    entries: Sequence[HistoryEntry],
    image: Image,
    made: datetime,
    prices: Mapping[str, float] | None = None,
) -> bytes:
    """The document.

    Args:
        form: one of FORMS. entries: the newest first.
        image: gives an image by the name under which the history has it, None when it is gone.
        made: the moment to put on a page. prices: units an hour by kind of machine, for a page.
    """
    if form == "html":
        from .page import page

        return page(entries, image, made, title="Runs", prices=prices).encode()
    oldest_first = entries[::-1]
    if form == "jsonl":
        plain = [all_encodable(msgspec.to_builtins(entry)) for entry in oldest_first]
        return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in plain).encode()
    if form == "md":
        return all_encodable("\n".join(map(_markdown, oldest_first))).encode()  # type: ignore[no-any-return]
    return notebook(oldest_first, image)


def notebook(entries: Sequence[HistoryEntry], image: Image) -> bytes:
    """A notebook (nbformat 4.5) that shows what was run; executed again, it runs that again."""
    cells: list[dict[str, Any]] = []
    for number, entry in enumerate(entries):
        cells.append({"cell_type": "markdown", "id": f"run-{number}", "metadata": {}, "source": _title(entry)})
        cells.append(
            {
                "cell_type": "code",
                "id": f"code-{number}",
                "metadata": {},
                "execution_count": entry.execution_count,
                "source": entry.command if entry.mode == "kernel" else f"%%bash\n{entry.command}",
                "outputs": _outputs(entry, image),
            }
        )
    whole = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    return (json.dumps(all_encodable(whole), ensure_ascii=False, indent=1) + "\n").encode()


def _title(entry: HistoryEntry) -> str:
    session = f", session {entry.session}" if isinstance(entry.session, str) else ""
    exit_code = f" ({entry.exit_code})" if isinstance(entry.exit_code, int) and entry.exit_code else ""
    return f"**{entry.status}{exit_code}** {entry.timestamp[:19]}Z, {entry.runtime.label}{session}"


def _outputs(entry: HistoryEntry, image: Image) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"output_type": "stream", "name": name, "text": text}
        for name, text in (("stdout", entry.stdout), ("stderr", entry.stderr))
        if text
    ]
    found += [
        {"output_type": "display_data", "metadata": {}, "data": data}
        for display in entry.display_data
        if (data := _data(display, image))
    ]
    if isinstance(entry.error, HistoryError):
        lines = entry.error.traceback or entry.traceback
        named = {"ename": entry.error.ename, "evalue": entry.error.evalue, "traceback": list(lines)}
        found.append({"output_type": "error", **named})
    return found


def _data(display: StoredDisplay, image: Image) -> dict[str, Any]:
    """What is kept of a rich output, in the form of a notebook."""
    data: dict[str, Any] = {}
    for mime, value in display.data.items():
        if not isinstance(value, dict):
            data[mime] = value
        elif isinstance(name := value.get("sha256"), str) and (kept := image(name)) is not None:
            is_text = mime == "image/svg+xml"
            data[mime] = kept.decode("utf-8", "replace") if is_text else base64.b64encode(kept).decode()
    return data


def _markdown(entry: HistoryEntry) -> str:
    parts = [_title(entry), "", _fenced(entry.command, "python" if entry.mode == "kernel" else "bash")]
    parts += [_fenced(text, "text") for text in (entry.stdout, entry.stderr) if text]
    for display in entry.display_data:
        text = display.data.get("text/plain")
        parts.append(_fenced(text, "text") if isinstance(text, str) else f"({', '.join(display.data)})\n")
    if isinstance(entry.error, HistoryError):
        parts.append(f"`{entry.error.ename}`: {' '.join(entry.error.evalue.split())}\n")
    return "\n".join(parts)


def _fenced(text: str, language: str) -> str:
    """A block that nothing in the text can end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(longest + 1, 3)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"
