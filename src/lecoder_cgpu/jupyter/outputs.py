"""What a kernel run showed, as a notebook would show it at the end: streams joined, `clear_output` and display updates
applied, carriage returns carried out. Only `write_files`, which writes rich outputs into a folder, touches the disk.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, Struct

from .. import errors
from ..models.base import now
from ..models.runs import DisplayData, Manifest, OutputFile, Truncated
from . import messages

if TYPE_CHECKING:
    from ..models.runs import Run

ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")

# Extension by MIME type; anything else that is text ends in .txt, anything binary in .bin.
EXTENSIONS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/svg+xml": "svg",
    "application/pdf": "pdf",
    "text/html": "html",
    "text/markdown": "md",
    "text/latex": "tex",
    "application/javascript": "js",
    "application/json": "json",
    "text/csv": "csv",
    "text/plain": "txt",
    "video/mp4": "mp4",
    "audio/wav": "wav",
    "audio/mpeg": "mp3",
}


def strip_ansi(text: str) -> str:
    """The text without terminal escape sequences."""
    return ANSI.sub("", text) if "\x1b" in text else text


def collapse(text: str) -> str:
    """What a terminal would show at the end: `\\r` goes back to the start of the line, `\\b` one column back."""
    if "\r" not in text and "\b" not in text:
        return text
    return "\n".join(_overwritten(line) for line in text.split("\n"))


def _overwritten(line: str) -> str:
    if "\b" in line:
        return _typed(line)
    shown = ""
    for part in line.split("\r"):
        shown = part + shown[len(part) :]
    return shown


def _typed(line: str) -> str:
    cells: list[str] = []
    column = 0
    for character in line:
        if character == "\r":
            column = 0
        elif character == "\b":
            column = max(column - 1, 0)
        else:
            cells[column : column + 1] = [character]
            column += 1
    return "".join(cells)


class LineFeed:
    """Passes on whole lines with carriage returns carried out, for output that goes into a pipe or a file."""

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, text: str) -> str:
        """The lines completed by `text`."""
        complete, newline, rest = text.rpartition("\n")
        if not newline:
            self._rest += text
            if len(self._rest) > 65536 and "\r" in self._rest:  # an endless progress bar must not fill the memory
                self._rest = _overwritten(self._rest) + "\r"
            return ""
        ready, self._rest = self._rest + complete + "\n", rest
        return collapse(ready)

    def flush(self) -> str:
        """What is left of the last line."""
        rest, self._rest = self._rest, ""
        return collapse(rest)


class BoundedBuffer:
    """A stream's bytes for the document: all of them or, if there are more than `limit`, their beginning and end."""

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._head = bytearray()
        self._tail = bytearray()
        self._begin = 0 if limit is None else limit // 2
        self._end = 0 if limit is None else limit - limit // 2
        self.total = 0

    def add(self, data: bytes) -> None:
        self.total += len(data)
        if self._limit is None:
            self._head += data
            return
        room = self._begin - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        if len(self._tail) > 4 * self._end:
            del self._tail[: -self._end]

    def clear(self) -> None:
        self._head.clear()
        self._tail.clear()
        self.total = 0

    @property
    def truncated(self) -> bool:
        """Whether anything was left out."""
        return self._limit is not None and self.total > self._limit

    @property
    def content(self) -> bytes:
        """Everything. Call this only when nothing was left out."""
        return bytes(self._head + self._tail)

    def last(self, size: int) -> bytes:
        """The last bytes, as many of `size` as there are."""
        return bytes((self._tail if self.truncated else self.content)[-size:])

    def text(self, *, raw: bool, encoding_errors: str = "replace") -> str:
        """As text, cleaned unless `raw`, with a line in place of what was left out."""

        def clean(content: bytes) -> str:
            text = content.decode("utf-8", encoding_errors)
            return text if raw else collapse(strip_ansi(text))

        if not self.truncated:
            return clean(self.content)
        head, tail = bytes(self._head), self.last(self._end)
        while tail and tail[0] & 0xC0 == 0x80:  # the rest of a character that was cut
            tail = tail[1:]
        head = head.decode("utf-8", "ignore").encode() if encoding_errors == "surrogatepass" else head
        left_out = self.total - len(head) - len(tail)
        return f"{clean(head)}\n[… {left_out:,} of {self.total:,} bytes left out …]\n{clean(tail)}"


def cut(streams: dict[str, BoundedBuffer]) -> Truncated:
    """Which of the streams are not whole, and how much there was."""
    out, err = streams["stdout"], streams["stderr"]
    return Truncated(
        stdout_bytes=out.total if out.truncated else UNSET, stderr_bytes=err.total if err.truncated else UNSET
    )


class OutputOptions(Struct, frozen=True, kw_only=True):
    """How much of a run's output its document holds, and in which form.

    `raw`: keep escape sequences and carriage returns.
    `max_output`: bytes of each stream, and of all rich outputs together; None is all.
    `inline`: keep binary outputs in the document, as base64.
    `folder`: write rich outputs into this folder.
    `filename`: the local file that the code was read from; tracebacks name it.
    """

    raw: bool = False
    max_output: int | None = None
    inline: bool = True
    folder: Path | None = None
    filename: str | None = None


DEFAULT = OutputOptions()


class Collector:
    """Collects the events of one run for its document.

    Args:
        raw: keep every byte: no escape is stripped and nothing is overwritten.
        limit: how many bytes of each stream, and of all rich outputs together, the document may hold; None is all.
        inline: put binary outputs into the document, as base64.
    """

    def __init__(self, raw: bool = False, limit: int | None = None, *, inline: bool = True) -> None:
        self.raw = raw
        self._inline = inline
        self._limit = limit
        self._streams = {"stdout": BoundedBuffer(limit), "stderr": BoundedBuffer(limit)}
        self._displays: list[DisplayData] = []
        self._by_id: dict[str, list[int]] = {}
        self._clear_on_next = False
        self.bytes_written = 0  # to both streams, cleared or not

    def add(self, event: messages.Event) -> None:
        match event:
            case messages.Clear(wait=True):
                self._clear_on_next = True
            case messages.Clear():
                self._clear()
            case messages.Stream(name=name, text=text):
                self._clear_if_due()
                content = text.encode("utf-8", "surrogatepass")
                self._streams[name].add(content)
                self.bytes_written += len(content)
            case messages.Display():
                self._display(event)

    def _display(self, event: messages.Display) -> None:
        shown = DisplayData(data=event.data, metadata=event.metadata)
        known = self._by_id.get(event.display_id, []) if event.display_id else []
        if event.update and known:
            for index in known:
                self._displays[index] = shown
            return
        self._clear_if_due()
        if event.display_id:
            self._by_id.setdefault(event.display_id, []).append(len(self._displays))
        self._displays.append(shown)

    def _clear_if_due(self) -> None:
        if self._clear_on_next:
            self._clear()

    def _clear(self) -> None:
        self._clear_on_next = False
        if self.raw:
            return
        for kept in self._streams.values():
            kept.clear()
        self._displays.clear()
        self._by_id.clear()

    def text(self, name: str) -> str:
        return self._streams[name].text(raw=self.raw, encoding_errors="surrogatepass")

    @property
    def displays(self) -> list[DisplayData]:
        """Every rich output, whole."""
        return list(self._displays)

    def fill(self, document: Run) -> None:
        """Put the output into a run's document, as much of it as its limit allows."""
        document.stdout = self.text("stdout")
        document.stderr = self.text("stderr") or UNSET
        document.output_bytes = self.bytes_written
        truncated = cut(self._streams)
        left = self._limit
        shown, omitted = [], 0
        for display in self._displays:
            if not self._inline:
                data, left_out = without_binary(display.data)
                display = DisplayData(data=data, metadata=display.metadata, omitted=left_out or UNSET)
            size = len(msgspec.json.encode(display.data))
            if left is not None and size > left:
                sizes = {mime: len(content(mime, value)) for mime, value in display.data.items()}
                sizes |= display.omitted or {}
                display = DisplayData(data={}, metadata=display.metadata, omitted=sizes)
                omitted += 1
            elif left is not None:
                left -= size
            shown.append(display)
        document.display_data = shown or UNSET
        truncated.displays = omitted or UNSET
        document.truncated = truncated or UNSET


def without_binary(data: dict[str, Any]) -> tuple[dict[str, Any], dict[str, int]]:
    """A MIME bundle without its binary formats, and the sizes of these in bytes."""
    kept = {mime: value for mime, value in data.items() if not _is_binary(mime, value)}
    return kept, {mime: len(content(mime, value)) for mime, value in data.items() if mime not in kept}


def write_files(folder: Path, displays: list[DisplayData]) -> list[OutputFile]:
    """Write every rich output into `folder` as `001.png`, `001.html`, … with a `manifest.json`; returns what it holds.

    Raises:
        errors.ConfigError: the folder cannot be written.
    """
    files: list[OutputFile] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, display in enumerate(displays, 1):
            for mime, value in display.data.items():
                data = content(mime, value)
                extension = EXTENSIONS.get(mime) or (
                    "json" if mime.endswith("json") else "txt" if _is_text(mime) else "bin"
                )
                path = folder / f"{number:03d}.{extension}"
                if any(item.path == path.name for item in files):
                    path = folder / f"{number:03d}-{re.sub(r'[^a-z0-9]+', '-', mime.lower())}.{extension}"
                path.write_bytes(data)
                files.append(OutputFile(path=path.name, mime=mime, size=len(data), output=number))
        manifest = Manifest(created=now(), files=files)
        (folder / "manifest.json").write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    except OSError as error:
        raise errors.ConfigError(
            f"{folder}: the outputs cannot be written: {error.strerror or error}",
            name="OutputsNotWritten",
            hint="give another folder: --outputs DIR",
        ) from error
    return files


def _is_binary(mime: str, value: Any) -> bool:
    """Whether a format is base64, or text that is mostly such (sound and pictures inside of HTML)."""
    if not isinstance(value, str | list) or mime.endswith("json"):
        return False
    return ";base64," in "".join(map(str, value)) if _is_text(mime) else True


def _is_text(mime: str) -> bool:
    return mime.startswith("text/") or mime.endswith(("+xml", "javascript"))


def content(mime: str, value: Any) -> bytes:
    """The bytes of one format of a MIME bundle: JSON for JSON types, text as UTF-8, everything else base64-decoded."""
    if mime.endswith("json") or not isinstance(value, (str, list)):
        return msgspec.json.encode(value)
    text = value if isinstance(value, str) else "".join(str(part) for part in value)
    if _is_text(mime):
        return text.encode()
    try:
        return base64.b64decode(text, validate=False)
    except ValueError:
        return text.encode()
