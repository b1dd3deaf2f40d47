"""What a notebook keeps of much output, and its file, which is written piece by piece."""

from __future__ import annotations

import json
from typing import Any

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lecoder_cgpu.jupyter import messages
from lecoder_cgpu.jupyter.stream_buffers import StreamText
from lecoder_cgpu.notebooks import file_form
from lecoder_cgpu.notebooks.cell_outputs import CellOutputs, Displays
from tests.support.odd_json import anything

LINES = "".join(f"line {number}\n" for number in range(40_000))


@pytest.mark.parametrize("step", [7, 1000, len(LINES)])
def test_the_beginning_and_the_end_stay(step: int) -> None:
    """Whole lines, in at most as many characters, with a line that counts what is missing."""
    text = StreamText(100_000)
    for start in range(0, len(LINES), step):
        text.add(LINES[start : start + step])
    for _ in range(2):  # a running cell is saved now and then
        found = text.text()
        head, rest = found.split("[... ")
        mark, tail = rest.split(" left out ...]\n")
        assert LINES.startswith(head)
        assert LINES.endswith(tail)
        assert mark == f"{text.left_out:,} of {len(LINES):,} characters"
        assert text.left_out + len(head) + len(tail) == len(LINES)
        assert 99_900 < len(head) + len(tail) <= 100_000
        assert head.endswith("\n")
        assert tail.startswith("line ")


def test_what_fits_stays_as_it_is() -> None:
    text = StreamText(len(LINES))
    for start in range(0, len(LINES), 999):
        text.add(LINES[start : start + 999])
        text.text()
    assert (text.text(), text.left_out) == (LINES, 0)


def test_a_screen_begins_late() -> None:
    """What was written just before can be written over, much further up nothing can, and nothing is shown twice."""
    for limit in (None, 100_000):
        text = StreamText(limit)
        text.add(LINES)
        text.text()
        text.add("last\x1b[1A\rover 39999")
        found = text.text()
        assert found.endswith("line 39998\nover 39999\nlast")
        assert found.count("line 39998") == 1


def test_streams_that_alternate_are_thinned_out() -> None:
    displays = Displays(limit=1000)
    cell = CellOutputs(displays)
    for number in range(2000):
        cell.add(messages.Stream("stdout", f"out {number}\n"))
        cell.add(messages.Stream("stderr", f"err {number}\n"))
        if number == 500:
            cell.add(messages.Display({"text/plain": "shown"}, {}))
    outputs = cell.all()
    texts = [shown["text"] for shown in outputs if "text" in shown]
    assert texts[:2] == ["out 0\n", "err 0\n"]
    assert texts[-2:] == ["out 1999\n", "err 1999\n"]
    assert sum(map(len, texts)) < 2200
    assert [shown["data"] for shown in outputs if "data" in shown] == [{"text/plain": "shown"}]
    written = sum(len(f"out {number}\nerr {number}\n") for number in range(2000))
    (mark,) = (text for text in texts if "left out" in text)
    assert mark == f"[... {cell.left_out:,} characters left out ...]\n"
    assert cell.left_out + sum(map(len, texts)) - len(mark) == written


def test_the_document_says_how_much_is_missing() -> None:
    cell: Any = nbformat.v4.new_code_cell("1")
    outputs = CellOutputs(Displays(limit=1000))
    outputs.add(messages.Stream("stdout", LINES))
    outputs.put(cell, 1)
    assert outputs.left_out == len(LINES) - sum(
        map(len, cell.outputs[0]["text"].split("[... ")[0].splitlines(True))
    ) - len(cell.outputs[0]["text"].split("...]\n")[1])
    outputs.add(messages.Clear(wait=False))
    assert (outputs.left_out, outputs.all()) == (0, [])


TEXT = st.text(alphabet=st.sampled_from('ab\n\r\x0b\u2028é😀"\\\t\x00'), max_size=30)
BUNDLE = st.dictionaries(
    st.sampled_from(["text/plain", "text/html", "image/png", "image/svg+xml", "application/x+json"]), TEXT
)
OUTPUT = st.one_of(
    st.builds(lambda text: nbformat.v4.new_output("stream", name="stdout", text=text), TEXT),
    st.builds(lambda data, more: nbformat.v4.new_output("display_data", data, metadata={"m": more}), BUNDLE, anything),
    st.builds(lambda lines: nbformat.v4.new_output("error", ename="E", evalue="", traceback=lines), st.lists(TEXT)),
)


@settings(max_examples=30)
@given(source=TEXT, outputs=st.lists(OUTPUT, max_size=4), metadata=st.dictionaries(TEXT, anything, max_size=3))
def test_files_are_written_as_nbformat_writes_them(source: str, outputs: list[Any], metadata: dict[str, Any]) -> None:
    code: Any = nbformat.v4.new_code_cell(source, outputs=outputs, metadata={"trusted": True, **metadata})
    text: Any = nbformat.v4.new_markdown_cell(source, attachments={"a.png": {"image/png": "AAAA", "text/x": source}})
    notebook = nbformat.v4.new_notebook(cells=[code, text], metadata={**metadata, "signature": "x"})
    written = b"".join(file_form.pieces(notebook)).decode()
    assert written == nbformat.v4.writes_json(nbformat.from_dict(notebook)) + "\n"


def test_long_text_is_written_in_pieces() -> None:
    """No piece is much longer than a mebibyte, and lone surrogates become escapes."""
    long = LINES * 10 + "\ud800\n"
    output: Any = nbformat.v4.new_output("stream", name="stdout", text=long)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=[output])])
    pieces = list(file_form.pieces(notebook))
    assert len(pieces) > 3
    assert max(map(len, pieces)) < 2 * file_form.PIECE
    found = json.loads(b"".join(pieces))
    assert "".join(found["cells"][0]["outputs"][0]["text"]) == long
