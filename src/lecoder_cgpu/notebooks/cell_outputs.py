"""The outputs of a notebook's cells, made from the events of their runs. Pure.

They are what a notebook front end would show at the end: streams joined, `clear_output` and display updates applied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import structs

from ..jupyter import messages
from ..jupyter.reducer import Reducer
from ..jupyter.stream_buffers import StreamText


class Displays:
    """What cells of a notebook share: rich outputs by their `display_id`, and what Output widgets captured. Later cells
    may change both.

    Args:
        limit: characters of a stream that a cell may hold; None is all.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self._shown: dict[str, list[dict[str, Any]]] = {}
        self._captured: dict[str, CellOutputs] = {}

    def captured_by(self, widget: str) -> CellOutputs:
        """What an Output widget holds; cells add to it."""
        return self._captured.setdefault(widget, CellOutputs(self))

    def captured(self) -> dict[str, list[dict[str, Any]]]:
        """What Output widgets hold now."""
        return {widget: held.all() for widget, held in self._captured.items()}

    def add(self, display_id: str, shown: dict[str, Any]) -> None:
        self._shown.setdefault(display_id, []).append(shown)

    def update(self, display_id: str, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        for shown in self._shown.get(display_id, ()):
            shown["data"], shown["metadata"] = data, metadata


class CellOutputs(Reducer):
    """The outputs of one cell in the form of the notebook file, made from the events of its run."""

    def __init__(self, displays: Displays) -> None:
        super().__init__()
        self._displays = displays
        self._outputs: list[dict[str, Any]] = []
        self._stream: StreamText | None = None  # the text of the last output
        self._kept = 0  # characters of the streams before the last output
        self._left_out = 0  # characters that these lack
        self._mark: dict[str, Any] | None = None  # the output that stands for those that are gone

    def add(self, event: messages.Event) -> None:
        if isinstance(event, messages.Owned) and event.widget is not None:
            self._displays.captured_by(event.widget).add(structs.replace(event, widget=None))
        else:
            super().add(event)

    def add_stream(self, stream: messages.Stream) -> None:
        if self._stream is None or self._outputs[-1]["name"] != stream.name:
            self.settle()
            self._stream = StreamText(self._displays.limit)
            self._outputs.append({"output_type": "stream", "name": stream.name, "text": ""})
        self._stream.add(stream.text)

    def update(self, display: messages.Display) -> bool:
        if display.display_id:  # the same id again takes the place of what it showed before, in every cell
            self._displays.update(display.display_id, _bundle(display), dict(display.metadata))
        return display.update

    def add_display(self, display: messages.Display) -> None:
        self.settle()
        shown: dict[str, Any] = {"output_type": "display_data", "data": _bundle(display)}
        shown["metadata"] = dict(display.metadata)
        if display.result:
            shown |= {"output_type": "execute_result", "execution_count": None}
        self._outputs.append(shown)
        if display.display_id:
            self._displays.add(display.display_id, shown)

    def add_failure(self, failure: messages.Failure) -> None:
        self.fail(failure.name, failure.message, failure.traceback)

    def clear(self, widget: str | None) -> None:
        self._stream = self._mark = None
        self._outputs.clear()
        self._kept = self._left_out = 0

    def settle(self) -> None:
        """Complete the text of the last output; what comes next is another one."""
        if self._stream is None:
            return
        self._outputs[-1]["text"] = self._stream.text()
        self._kept += len(self._outputs[-1]["text"])
        self._left_out += self._stream.left_out
        self._stream = None
        if self._displays.limit is not None and self._kept > 2 * self._displays.limit:
            self._thin_out(self._displays.limit)

    def _thin_out(self, limit: int) -> None:
        """Of streams that alternate too often, keep those at the beginning and those at the end."""
        before, gone, surplus = 0, 0, self._kept - limit
        kept = []
        for shown in self._outputs:
            size = len(shown["text"]) if shown["output_type"] == "stream" and shown is not self._mark else 0
            if size == 0 or before + size <= limit // 2 or gone >= surplus:
                before += size
                kept.append(shown)
                continue
            gone += size
            if self._mark is None:
                self._mark = {"output_type": "stream", "name": "stderr"}
                kept.append(self._mark)
        self._outputs[:] = kept
        self._kept -= gone
        self._left_out += gone
        if self._mark is not None:
            self._mark["text"] = f"[... {self._left_out:,} characters left out ...]\n"

    @property
    def left_out(self) -> int:
        """How many characters of the streams the outputs lack."""
        return self._left_out + (0 if self._stream is None else self._stream.left_out)

    def fail(self, name: str, message: str, traceback: Sequence[str]) -> None:
        """Show an exception."""
        self.settle()
        self._outputs.append({"output_type": "error", "ename": name, "evalue": message, "traceback": list(traceback)})

    def has_shown(self, name: str, message: str) -> bool:
        """Whether that exception is among the outputs."""
        return any(shown.get("ename") == name and shown.get("evalue") == message for shown in self._outputs)

    def all(self) -> list[dict[str, Any]]:
        """The outputs so far."""
        if self._stream is not None:
            self._outputs[-1]["text"] = self._stream.text()
        return list(self._outputs)

    def put(self, cell: Any, execution_count: int | None) -> None:
        """Put the outputs so far into the cell."""
        outputs = self.all()
        for shown in outputs:
            if shown["output_type"] == "execute_result":
                shown["execution_count"] = execution_count
        # The cell holds these very dictionaries, so an update by a later cell changes them here and in the cell.
        cell.outputs = outputs
        cell.execution_count = execution_count


def _bundle(display: messages.Display) -> dict[str, Any]:
    return {mime: _allowed(mime, content) for mime, content in display.data.items()}


def _allowed(mime: str, content: Any) -> Any:
    """One format of a bundle as the schema allows it: text, or anything for JSON types."""
    if mime.endswith("json") or isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, str) for part in content):
        return "".join(content)
    return str(content)
