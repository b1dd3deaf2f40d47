"""What a run shows at the end, and the files that rich outputs become."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from lecoder_cgpu.jupyter import messages, outputs, stream_buffers
from lecoder_cgpu.jupyter.screen import render
from lecoder_cgpu.models.base import ErrorInfo
from lecoder_cgpu.models.runs import DisplayData, Run, Truncated


@given(st.lists(st.text(alphabet="ab\r\n", max_size=6)))
def test_feeding_in_pieces_equals_feeding_at_once(pieces: list[str]) -> None:
    """How the text is cut into messages makes no difference to the lines that come out."""
    feed = stream_buffers.LineFeed()
    out = "".join(feed.feed(piece) for piece in pieces) + feed.flush()
    assert out == render("".join(pieces))


def test_a_line_is_passed_on_when_it_is_complete() -> None:
    """Whoever reads a pipe does not wait for the end; after a nested bar, the lines that it writes over are held."""
    feed = stream_buffers.LineFeed()
    assert feed.feed("a\nb") == "a\n"
    frames = [f"\router {n}\n\rinner {n}\x1b[A" for n in range(100)]
    assert [feed.feed(frame) for frame in frames] == [""] * 100
    assert feed.feed("\n\ndone\nnext\n") == "outer 99\ninner 99\ndone\n"
    assert feed.feed("line\n" * 100).count("\n") == 101
    assert feed.feed("prompt\n") == "prompt\n"
    assert feed.flush() == ""


def collect(*events: messages.Event, raw: bool = False) -> outputs.Collector:
    collector = outputs.Collector(outputs.OutputOptions(raw=raw))
    for event in events:
        collector.add(event)
    return collector


def test_clear_output_clears_at_once_or_with_the_next_output() -> None:
    """`clear_output(wait=True)` keeps the old output until there is new one, as in a notebook."""
    first, second = messages.Stream("stdout", "1\n"), messages.Stream("stdout", "2\n")
    assert collect(first, messages.Clear(False)).text("stdout") == ""
    assert collect(first, messages.Clear(True)).text("stdout") == "1\n"
    assert collect(first, messages.Clear(True), second).text("stdout") == "2\n"
    assert collect(first, messages.Clear(True), second, raw=True).text("stdout") == "1\n2\n"


def test_an_update_takes_the_place_of_every_display_with_its_id() -> None:
    """A display that is updated a thousand times is one output."""

    def shown(text: str, *, update: bool = False, key: str | None = "a") -> messages.Display:
        return messages.Display({"text/plain": text}, {}, key, update=update)

    collected = collect(shown("1"), shown("x", key=None), shown("2", update=True), shown("lost", update=True, key="zz"))
    assert [item.data["text/plain"] for item in collected.displays] == ["2", "x", "lost"]


def test_rich_outputs_become_files_with_a_manifest(tmp_path: Path) -> None:
    """Images are decoded, text stays text, JSON stays JSON; two formats of one output share its number."""
    pixel = b"\x89PNG\r\n\x1a\n rest"
    written = outputs.write_files(
        tmp_path / "out",
        [
            DisplayData(data={"image/png": base64.b64encode(pixel).decode(), "text/plain": "<Figure>"}),
            DisplayData(data={"text/html": "<b>é</b>", "application/json": {"a": 1}}),
            DisplayData(data={"application/x.one+json": {}, "application/x.two+json": {}}),
        ],
    )
    names = [item.path for item in written]
    assert names[:4] == ["001.png", "001.txt", "002.html", "002.json"]
    assert len(set(names)) == 6
    assert (tmp_path / "out/001.png").read_bytes() == pixel
    assert (tmp_path / "out/002.html").read_text(encoding="utf-8") == "<b>é</b>"
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert [item["path"] for item in manifest["files"]] == names
    assert manifest["files"][0] == {"path": "001.png", "mime": "image/png", "size": len(pixel), "output": 1}


@given(st.lists(st.binary(max_size=40)), st.integers(min_value=2, max_value=60))
def test_what_is_kept_is_the_beginning_and_the_end(pieces: list[bytes], limit: int) -> None:
    """All of it while it fits; else the first and last bytes, as many as the limit allows, however it was cut."""
    kept, everything = stream_buffers.StreamBuffer(limit, raw=True), b"".join(pieces)
    for piece in pieces:
        kept.add(piece)
    assert kept.total == len(everything)
    assert kept.truncated is (len(everything) > limit)
    if not kept.truncated:
        assert kept.content == everything
    assert kept.last(limit - limit // 2) == everything[-(limit - limit // 2) :]


@given(st.text(alphabet="aé€😀", min_size=40, max_size=80))
def test_a_cut_never_splits_a_character(text: str) -> None:
    """The beginning and the end are text that was there, and the mark counts every byte between them."""
    kept = stream_buffers.StreamBuffer(30, encoding_errors="surrogatepass")
    kept.add(text.encode())
    if not kept.truncated:
        return
    shown = kept.text()
    head, _, tail = shown.partition("\n[… ")
    number, _, tail = tail.partition(" left out …]\n")
    assert text.startswith(head)
    assert text.endswith(tail)
    left_out, total = (int(word) for word in number.replace(" bytes", "").split(" of "))
    assert total == len(text.encode())
    assert left_out == total - len(head.encode()) - len(tail.encode())


def test_a_progress_bar_is_not_too_much() -> None:
    """Megabytes that were written over are one line: nothing is left out, and every byte is counted."""
    kept = stream_buffers.StreamBuffer(1000)
    for number in range(20_000):
        kept.add(f"\r{number:6d} |████| it/s\x1b[K".encode())
    assert kept.text() == " 19999 |████| it/s"
    assert not kept.truncated
    assert kept.total > 400_000
    kept.add(b"\n" + b"x" * 2000)
    assert kept.truncated
    shown = kept.text()
    assert shown.startswith(" 19999 |████| it/s\nxxx")
    assert "of 2,027 bytes left out" in shown
    raw = stream_buffers.StreamBuffer(1000, raw=True)
    raw.add(b"ab\rc" * 1000)
    assert raw.truncated
    assert raw.text().startswith("ab\rc")


def failed(message: str, traceback: list[str]) -> Run:
    error = ErrorInfo(name="ValueError", message=message, category="runtime", description="", traceback=traceback)
    return Run(status="error", error_code=1, exit_code=1, mode="kernel", error=error)


def test_an_error_has_a_budget() -> None:
    """Its message and its traceback are cut as streams are, with the place where it was raised and the end kept."""
    message = "x" * 5_000_000 + "end"
    lines = ["-" * 75, "Traceback (most recent call last)", "Cell In[1], line 7", f"ValueError: {message}"]
    document = failed(message, lines)
    outputs.Collector(outputs.OutputOptions(max_output=1 << 20)).fill(document)
    assert isinstance(document.error, ErrorInfo)
    assert isinstance(document.truncated, Truncated)
    assert len(msgspec.json.encode(document)) < 200_000
    assert document.truncated.error_bytes == len(message) + sum(map(len, lines))
    assert document.error.message.endswith("end")
    assert isinstance(document.error.traceback, list)
    text = "\n".join(document.error.traceback)
    assert "Cell In[1], line 7" in text
    assert "bytes left out" in text
    whole = failed(message, list(lines))
    outputs.Collector().fill(whole)
    assert isinstance(whole.error, ErrorInfo)
    assert (whole.error.message, whole.error.traceback, whole.truncated) == (message, lines, UNSET)
    short = failed("no", ["a", "b"])
    outputs.Collector(outputs.OutputOptions(max_output=200)).fill(short)
    assert isinstance(short.error, ErrorInfo)
    assert short.error.traceback == ["a", "b"]
    assert short.truncated is UNSET
    short.error.name = "E" * 200_000
    outputs.Collector(outputs.OutputOptions(max_output=200)).fill(short)
    assert len(short.error.name) < 300


@given(st.text(max_size=300), st.lists(st.text(max_size=200), max_size=6), st.integers(2, 100))
def test_a_cut_error_fits(message: str, lines: list[str], limit: int) -> None:
    """Whatever it consists of."""
    document = failed(message, lines)
    outputs.Collector(outputs.OutputOptions(max_output=limit)).fill(document)
    assert isinstance(document.error, ErrorInfo)
    assert len(document.error.message.encode("utf-8", "surrogatepass")) < limit + 60
    assert isinstance(document.error.traceback, list)
    assert sum(len(line.encode("utf-8", "surrogatepass")) for line in document.error.traceback) < limit + 120


def test_exceptions_that_were_shown() -> None:
    """All but the one that ended the code, within the budget of errors; an exception in a loop is bounded, too."""
    collector = outputs.Collector(outputs.OutputOptions(max_output=1000))
    for number in range(outputs.SHOWN_ERRORS * 2):
        collector.add(messages.Failure("ValueError", f"{number}: " + "x" * 100_000, ["frame"]))
    document = failed("the last", [])
    collector.fill(document)
    assert isinstance(document.shown_errors, list)
    assert isinstance(document.truncated, Truncated)
    assert document.shown_errors[0].message.startswith("0: xxx")
    assert len(msgspec.json.encode(document.shown_errors)) < 3000
    assert document.truncated.shown_errors == outputs.SHOWN_ERRORS * 2 - 1 - len(document.shown_errors)
    alone = outputs.Collector()
    alone.add(messages.Failure("ValueError", "the last", []))
    document = failed("the last", [])
    alone.fill(document)
    assert document.shown_errors is UNSET
