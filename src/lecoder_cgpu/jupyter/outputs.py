"""What a kernel run showed, as a notebook would show it at the end: streams joined, `clear_output` and display updates
applied, text as a terminal shows it (see `screen`). Pure, but for `write_files`, which puts rich outputs into a folder.
"""

from __future__ import annotations

import base64
import codecs
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, Struct

from .. import errors
from ..models.base import ErrorInfo, Optional, now
from ..models.runs import DisplayData, Manifest, OutputFile, Truncated
from . import messages
from .screen import Screen, render

if TYPE_CHECKING:
    from ..models.runs import Run

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


class LineFeed:
    """Passes on lines for output that goes into a pipe or a file, as a terminal would show them.

    A line comes when it is complete; a line that was drawn again (a progress bar) comes with the next one that was not.
    After a program has moved the cursor up, as nested progress bars do, as many lines are held back as it has moved: it
    may write over them again.
    """

    def __init__(self) -> None:
        self._screen = Screen()

    def feed(self, text: str) -> str:
        """The lines that are final after `text`."""
        self._screen.feed(text)
        return self._screen.take_above(self._screen.depth)

    def flush(self) -> str:
        """What is left of the last lines."""
        rest = self._screen.take() + self._screen.rest()
        self._screen = Screen()
        return rest


class BoundedBuffer:
    """Bytes: all of them, or when they are more than `limit`, their beginning and end."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._head = bytearray()
        self._tail = bytearray()
        self._begin = 0 if limit is None else limit // 2
        self._end = 0 if limit is None else limit - limit // 2
        self.total = 0

    def copy(self) -> BoundedBuffer:
        other = BoundedBuffer(self._limit)
        other._head, other._tail, other.total = self._head[:], self._tail[:], self.total
        return other

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

    @property
    def truncated(self) -> bool:
        """Whether anything was left out."""
        return self._limit is not None and self.total > self._limit

    @property
    def content(self) -> bytes:
        """Everything. Call this only when nothing was left out."""
        return bytes(self._head + self._tail)

    def last(self, size: int) -> bytes:
        return bytes((self._tail if self.truncated else self.content)[-size:])

    def text(self, encoding_errors: str) -> str:
        """As text, with a line in place of what was left out."""
        if not self.truncated:
            return self.content.decode("utf-8", encoding_errors)
        head, tail = bytes(self._head), self.last(self._end)
        while tail and tail[0] & 0xC0 == 0x80:  # the rest of a character that was cut
            tail = tail[1:]
        head = head.decode("utf-8", "ignore").encode() if encoding_errors == "surrogatepass" else head
        left_out = self.total - len(head) - len(tail)
        mark = f"\n[… {left_out:,} of {self.total:,} bytes left out …]\n"
        return head.decode("utf-8", encoding_errors) + mark + tail.decode("utf-8", encoding_errors)


class StreamBuffer:
    """A stream's bytes for the document, as a terminal would show them: all, or the beginning and the end.

    Args:
        limit: how many bytes the document may show; None is all. What a progress bar has written over does not count.
        raw: keep what was written, and carry out no carriage return or escape sequence.
        encoding_errors: what becomes of bytes that are not UTF-8, as in `bytes.decode`.
    """

    def __init__(self, limit: int | None = None, *, raw: bool = False, encoding_errors: str = "replace") -> None:
        self._limit = limit
        self._raw = raw
        self._encoding_errors = encoding_errors
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._written = BoundedBuffer(self._limit)
        self._screen: Screen | None = None  # once more was written than can be kept
        self._decoder = codecs.getincrementaldecoder("utf-8")(self._encoding_errors)
        self._shown = BoundedBuffer(self._limit)

    def add(self, data: bytes) -> None:
        """Keep what was written."""
        if self._limit is not None and not self._raw and self._written.total + len(data) > self._limit:
            if self._screen is None:
                self._screen = Screen()
                self._show(self._written.content)
            self._show(data)
        self._written.add(data)

    def _show(self, data: bytes) -> None:
        assert self._screen is not None
        self._screen.feed(self._decoder.decode(data))
        if final := self._screen.take():
            self._shown.add(final.encode("utf-8", "surrogatepass"))

    def _final(self) -> BoundedBuffer:
        """What a terminal would show, when more was written than can be kept."""
        if self._screen is None:
            return self._written
        final = self._shown.copy()
        final.add(self._screen.rest().encode("utf-8", "surrogatepass"))
        return final

    @property
    def total(self) -> int:
        """How many bytes were written."""
        return self._written.total

    @property
    def truncated(self) -> bool:
        """Whether anything of what a terminal would show is left out."""
        return self._final().truncated

    @property
    def content(self) -> bytes | None:
        """Every byte that was written; None when they were too many to keep."""
        return None if self._written.truncated else self._written.content

    def last(self, size: int) -> bytes:
        """The last bytes that were written, as many of `size` as there are."""
        return self._written.last(size)

    def text(self) -> str:
        """The text, with a line in place of what was left out."""
        if self._screen is not None:
            return self._final().text("surrogatepass" if self._encoding_errors == "surrogatepass" else "replace")
        text = self._written.text(self._encoding_errors)
        return text if self._raw else render(text)


def cut(streams: dict[str, StreamBuffer]) -> Truncated:
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
ERROR_LIMIT = 64 << 10  # bytes of an error's message, and of its traceback


class Collector:
    """Collects the events of one run for its document.

    Args:
        raw: keep every byte: no escape is stripped and nothing is overwritten.
        limit: how many bytes of each stream, and of all rich outputs together, the document may hold; None is all.
        inline: put binary outputs into the document, as base64.
        error_limit: the same as `limit` for the message of an error, and for its traceback; None is `limit`.
    """

    def __init__(
        self, raw: bool = False, limit: int | None = None, *, inline: bool = True, error_limit: int | None = None
    ) -> None:
        self.raw = raw
        self._error_limit = limit if error_limit is None else error_limit
        self._inline = inline
        self._limit = limit
        self._streams = {
            name: StreamBuffer(limit, raw=raw, encoding_errors="surrogatepass") for name in ("stdout", "stderr")
        }
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
        return self._streams[name].text()

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
        truncated.error_bytes = bound_error(document.error, self._error_limit) or UNSET
        document.truncated = truncated or UNSET


def bound_error(error: ErrorInfo | Optional, limit: int | None) -> int:
    """Cut the message and the traceback of an error, each to what the limit for streams allows, at most 64 KiB.

    Returns:
        How many bytes both had, if one was cut, else 0.
    """
    if limit is None or not isinstance(error, ErrorInfo):
        return 0
    limit = min(limit, ERROR_LIMIT)
    lines = error.traceback if isinstance(error.traceback, list) else []
    sizes = [len(line.encode("utf-8", "surrogatepass")) for line in (error.message, *lines)]
    if sizes[0] <= limit and sum(sizes[1:]) <= limit:
        return 0
    error.message = cut_text(error.message, limit)
    if sum(sizes[1:]) > limit:
        # The last line is the message again: it may not push out where the exception was raised.
        last = cut_text(lines[-1], limit // 2)
        frames = cut_text("\n".join(lines[:-1]), limit - limit // 2)
        error.traceback = [*([frames] if frames else []), last]
    return sum(sizes)


def cut_text(text: str, limit: int) -> str:
    """Text of at most so many bytes: its beginning and its end, with a line in place of what was left out."""
    buffer = BoundedBuffer(limit)
    buffer.add(text.encode("utf-8", "surrogatepass"))
    return buffer.text("surrogatepass") if buffer.truncated else text


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
