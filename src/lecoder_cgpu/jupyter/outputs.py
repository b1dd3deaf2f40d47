"""What a kernel run showed, as a notebook would show it at the end: streams joined, `clear_output` and display updates
applied, text as a terminal shows it (see `screen`). Pure, but for `write_files`, which puts rich outputs into a folder.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, Struct

from .. import errors
from ..guest.beneath import Beneath
from ..guest.trees import Problem
from ..models.base import ErrorInfo, Optional, now
from ..models.runs import DisplayData, Manifest, OutputFile, ShownError
from . import messages, shown_order
from .reducer import Reducer
from .screen import strip_ansi
from .shown_order import ShownOrder
from .stream_buffers import BoundedBuffer, StreamBuffer, cut

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


class OutputOptions(Struct, frozen=True, kw_only=True):
    """How much of a run's output its document holds, and in which form.

    `raw`: keep escape sequences and carriage returns.
    `max_output`: bytes of each stream, and of all rich outputs together; None is all.
    `max_error`: bytes of an error's message, and of its traceback; None is what `max_output` allows.
    `inline`: keep binary outputs in the document, as base64.
    `folder`: write rich outputs into this folder.
    `order`: tell in which order everything was shown.
    `filename`: the local file that the code was read from; tracebacks name it.
    `arguments`: what its code finds in `sys.argv` behind that name.
    """

    raw: bool = False
    max_output: int | None = None
    max_error: int | None = None
    inline: bool = True
    folder: Path | None = None
    order: bool = False
    filename: str | None = None
    arguments: tuple[str, ...] = ()


DEFAULT = OutputOptions()
SHOWN_ERRORS = 1000  # exceptions that are kept, the first and the last ones
ERROR_LIMIT = 64 << 10  # bytes of an error's message, and of its traceback
NAME_LIMIT = 200  # characters of an exception's name


class _Segment:
    """Output without a change of its owner: the cell itself, or an Output widget, whose part can be cleared alone."""

    def __init__(self, streams: dict[str, StreamBuffer], widget: str | None) -> None:
        self.streams = streams
        self.widget = widget
        self.displays: list[DisplayData] = []
        self.failures: list[ShownError] = []
        self.order = ShownOrder()


class Collector(Reducer):
    """Collects the events of one run for its document."""

    def __init__(self, options: OutputOptions = DEFAULT) -> None:
        super().__init__()
        self.raw = options.raw
        self._limit = options.max_output
        self._error_limit = self._limit if options.max_error is None else options.max_error
        self._inline = options.inline
        self._ordered = options.order
        self._segments = [self._new_segment(None)]
        self._by_id: dict[str, list[tuple[_Segment, int]]] = {}
        self._errors_left_out = 0
        self.bytes_written = 0  # to both streams, cleared or not

    def _new_segment(self, widget: str | None) -> _Segment:
        streams = {
            name: StreamBuffer(self._limit, raw=self.raw, encoding_errors="surrogatepass")
            for name in ("stdout", "stderr")
        }
        return _Segment(streams, widget)

    def add_stream(self, stream: messages.Stream) -> None:
        content = stream.text.encode("utf-8", "surrogatepass")
        segment = self._segment(stream.widget)
        segment.streams[stream.name].add(content)
        segment.order.add(stream.name, len(content))
        self.bytes_written += len(content)

    def update(self, display: messages.Display) -> bool:
        known = self._by_id.get(display.display_id, []) if display.display_id else []
        for segment, index in known:
            segment.displays[index] = DisplayData(data=display.data, metadata=display.metadata)
        return display.update and bool(known)

    def add_display(self, display: messages.Display) -> None:
        segment = self._segment(display.widget)
        if display.display_id:
            self._by_id.setdefault(display.display_id, []).append((segment, len(segment.displays)))
        segment.order.add("display", len(segment.displays))
        segment.displays.append(DisplayData(data=display.data, metadata=display.metadata))

    def add_failure(self, failure: messages.Failure) -> None:
        segment = self._segment(failure.widget)
        failures = segment.failures
        segment.order.add("error", len(failures))
        lines = [strip_ansi(line) for line in failure.traceback]
        error = ShownError(name=failure.name, message=failure.message, traceback=lines)
        bound_error(error, self._error_limit)
        failures.append(error)
        if len(failures) > SHOWN_ERRORS:
            del failures[SHOWN_ERRORS // 2]
            self._errors_left_out += 1

    def _segment(self, widget: str | None) -> _Segment:
        if self._segments[-1].widget != widget:
            self._segments.append(self._new_segment(widget))
        return self._segments[-1]

    def clear(self, widget: str | None) -> None:
        """Clear what a widget captured, or with None everything: what the cell shows includes its widgets."""
        if self.raw:
            return
        left = [segment for segment in self._segments if widget is not None and segment.widget != widget]
        self._segments = left or [self._new_segment(widget)]
        for key, places in list(self._by_id.items()):
            self._by_id[key] = [place for place in places if place[0] in left]

    def text(self, name: str) -> str:
        return "".join(segment.streams[name].text() for segment in self._segments)

    @property
    def displays(self) -> list[DisplayData]:
        """Every rich output, whole."""
        return [shown for segment in self._segments for shown in segment.displays]

    def fill(self, document: Run) -> None:
        """Put the output into a run's document, as much of it as its limit allows."""
        document.stdout = self.text("stdout")
        document.stderr = self.text("stderr") or UNSET
        document.output_bytes = self.bytes_written
        truncated = cut([segment.streams for segment in self._segments])
        left = self._limit
        shown, omitted = [], 0
        for display in self.displays:
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
        truncated.shown_errors = self._fill_errors(document) or UNSET
        truncated.error_bytes = bound_error(document.error, self._error_limit) or UNSET
        document.truncated = truncated or UNSET
        if self._ordered:
            self._fill_order(document)

    def _fill_order(self, document: Run) -> None:
        parts, displays, failures = [], 0, 0
        for segment in self._segments:
            parts.append((segment.order, displays, failures))
            displays, failures = displays + len(segment.displays), failures + len(segment.failures)
        shown_order.fill(document, parts)

    def _fill_errors(self, document: Run) -> int:
        """Put in the exceptions that were shown and did not end the code; returns how many did not fit."""
        errors_shown = [error for segment in self._segments for error in segment.failures]
        if errors_shown and isinstance(document.error, ErrorInfo) and errors_shown[-1].name == document.error.name:
            errors_shown.pop()
        kept: list[ShownError] = []
        left = self._error_limit
        for error in errors_shown:
            size = len(msgspec.json.encode(error))
            if left is not None and size > left and kept:
                break
            left = None if left is None else max(left - size, 0)
            kept.append(error)
        document.shown_errors = kept or UNSET
        return self._errors_left_out + len(errors_shown) - len(kept)


def bound_error(error: ErrorInfo | ShownError | Optional, limit: int | None) -> int:
    """Cut the message and the traceback of an error, each to what the limit for streams allows, at most 64 KiB.

    Returns:
        How many bytes both had, if one was cut, else 0.
    """
    if limit is None or not isinstance(error, ErrorInfo | ShownError):
        return 0
    limit = min(limit, ERROR_LIMIT)
    error.name = short_name(error.name)
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


def short_name(name: str) -> str:
    """The name of an exception, which is a text of any length for a kernel, as far as anybody would read it."""
    return name if len(name) <= NAME_LIMIT else name[:NAME_LIMIT] + "…"


def cut_text(text: str, limit: int) -> str:
    """Text of at most this many bytes: its beginning and its end, with a line in place of what was left out."""
    buffer = BoundedBuffer(limit)
    buffer.add(text.encode("utf-8", "surrogatepass"))
    return buffer.text("surrogatepass") if buffer.truncated else text


def without_binary(data: dict[str, Any]) -> tuple[dict[str, Any], dict[str, int]]:
    """A MIME bundle without its binary formats, and the sizes of these in bytes."""
    kept = {mime: value for mime, value in data.items() if not _is_binary(mime, value)}
    return kept, {mime: len(content(mime, value)) for mime, value in data.items() if mime not in kept}


def write_files(folder: Path, displays: list[DisplayData]) -> list[OutputFile]:
    """Write every rich output into `folder` as `001.png`, `001.html`, … with a `manifest.json`; returns what it holds.
    A link that has such a name is replaced, never written through.

    Raises:
        errors.ConfigError: the folder cannot be written.
    """
    files: list[OutputFile] = []
    try:
        top = Beneath(str(folder)).top
        for number, display in enumerate(displays, 1):
            for mime, value in display.data.items():
                data = content(mime, value)
                extension = EXTENSIONS.get(mime) or (
                    "json" if mime.endswith("json") else "txt" if _is_text(mime) else "bin"
                )
                name = f"{number:03d}.{extension}"
                if any(item.path == name for item in files):
                    name = f"{number:03d}-{re.sub(r'[^a-z0-9]+', '-', mime.lower())[:100]}.{extension}"
                top.write(name, data)
                files.append(OutputFile(path=name, mime=mime, size=len(data), output=number))
        manifest = Manifest(created=now(), files=files)
        top.write("manifest.json", msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    except (OSError, Problem) as error:
        raise errors.ConfigError(
            f"{folder}: the outputs cannot be written: {getattr(error, 'strerror', None) or error}",
            name="OutputsNotWritten",
            hint="give another folder: --outputs DIR",
        ) from error
    return files


def _is_binary(mime: str, value: Any) -> bool:
    """Whether a format is base64, or text that is mostly such (sound and pictures inside of HTML)."""
    if not isinstance(value, str | list) or mime.endswith("json"):
        return False
    if not _is_text(mime):
        return True
    return ";base64," in (value if isinstance(value, str) else "".join(map(str, value)))


def _is_text(mime: str) -> bool:
    return mime.startswith("text/") or mime.endswith(("+xml", "javascript"))


def content(mime: str, value: Any) -> bytes:
    """The bytes of one format of a MIME bundle: JSON for JSON types, text as UTF-8, everything else base64-decoded."""
    if mime.endswith("json") or not isinstance(value, (str, list)):
        return msgspec.json.encode(value)
    text = value if isinstance(value, str) else "".join(str(part) for part in value)
    if _is_text(mime):
        return text.encode()
    import base64

    try:
        return base64.b64decode(text, validate=False)
    except ValueError:
        return text.encode()
