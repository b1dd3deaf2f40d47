"""The history as a web page: nothing in it becomes markup, nothing is loaded from anywhere, and a browser shows it."""

from __future__ import annotations

import base64
import shutil
import struct
import subprocess
import zlib
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu.history.entries import History, entry_from_run, shown_by
from lecoder_cgpu.history.images import Images, digest
from lecoder_cgpu.history.page import page
from lecoder_cgpu.models.base import ErrorInfo, SessionRef, Timing
from lecoder_cgpu.models.history import HistoryEntry, HistoryRuntime
from lecoder_cgpu.models.runs import DisplayData, Run

EVIL = "</pre><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">&amp;'\""
RUNTIME = HistoryRuntime(label="T4 <b>", accelerator="T4")


def png(width: int = 8, height: int = 8) -> bytes:
    """A red square."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + b"\xff\0\0" * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def run(**fields: Any) -> Run:
    values: dict[str, Any] = {"status": "ok", "error_code": 0, "exit_code": 0, "mode": "kernel", **fields}
    return Run(**values)


def stored(folder: Path, command: str, document: Run) -> None:
    History(folder).append(entry_from_run(document, command, RUNTIME, []), shown_by(document))


def page_of(folder: Path, prices: dict[str, float] | None = None) -> str:
    history = History(folder)
    return page(history.entries(None), history.images.read, datetime.now(UTC), title="Runs", prices=prices)


class Reader(HTMLParser):
    """Collects tags with their attributes, and text by the class of the element that it is in."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "input"):
            self._open.append(dict(attributes).get("class") or tag)

    def handle_endtag(self, tag: str) -> None:
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self.text.setdefault(self._open[-1] if self._open else "", []).append(data)


def test_everything_is_escaped(tmp_path: Path) -> None:
    """Markup in commands, outputs, errors, labels and rich outputs stays text, letter for letter."""
    error = ErrorInfo(name=EVIL, message=EVIL, category="runtime", description="", traceback=[EVIL])
    display = DisplayData(data={"text/plain": EVIL, "text/html": EVIL, "image/svg+xml": f"<svg>{EVIL}</svg>"})
    stored(tmp_path, EVIL, run(stdout=EVIL, stderr=EVIL, error=error, status="error", display_data=[display]))
    odd = DisplayData(data={EVIL: "x", "image/png; x=" + EVIL: "eA=="})
    stored(tmp_path, "\x00\x1b[31mred\x1b[0m\x08\ud800", run(stdout="a\rb", display_data=[odd]))
    reader = Reader(page_of(tmp_path))
    assert {tag for tag, _ in reader.tags} <= {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "h1",
        "p",
        "dl",
        "div",
        "dt",
        "dd",
        "main",
        "article",
        "header",
        "span",
        "pre",
        "img",
        "figure",
        "figcaption",
        "details",
        "summary",
        "input",
        "nav",
        "label",
        "a",
        "table",
        "tr",
        "th",
        "td",
    }
    assert not any(name.startswith("on") for _, attributes in reader.tags for name in attributes)
    assert [text for text in reader.text["command"] if text == EVIL]
    assert reader.text["output"].count(EVIL) == 2
    assert EVIL in reader.text["failed"]
    assert not any(character in "".join(reader.text["command"]) for character in "\x00\x1b\x08")


def test_nothing_is_loaded(tmp_path: Path) -> None:
    """Every address on the page is a data: address, and the page's policy forbids all others."""
    picture = DisplayData(data={"image/png": base64.b64encode(png()).decode()})
    stored(tmp_path, "plot()", run(display_data=[picture]))
    content = page_of(tmp_path)
    reader = Reader(content)
    sources = [attributes["src"] for tag, attributes in reader.tags if tag == "img"]
    assert sources == ["data:image/png;base64," + base64.b64encode(png()).decode()]
    names = {name for _, attributes in reader.tags for name in attributes}
    assert not names & {"srcset", "action", "data", "poster"}
    assert all(str(attributes.get("href", "#")).startswith("#") for _, attributes in reader.tags)
    assert "url(" not in content
    assert "@import" not in content
    policies = [attributes["content"] for _, attributes in reader.tags if "http-equiv" in attributes]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_what_is_on_it(tmp_path: Path) -> None:
    """Sums, times, exit statuses, and long outputs folded away."""
    timing = Timing("2026-03-04T05:06:07.000Z", "2026-03-04T05:08:09.000Z", 122_000)
    stored(tmp_path, "train.py", run(stdout="line\n" * 100, timing=timing, exit_code=3, status="error"))
    stored(tmp_path, "quick", run(timing=Timing("", "", 40)))
    reader = Reader(page_of(tmp_path))
    assert reader.text["dd"][:4] == ["2", "1", "1", "2 min 2 s"]
    assert "exit status 3" in reader.text["quiet"]
    assert "100 lines" in reader.text["summary"]
    assert "40 ms" in reader.text["quiet"]
    widths = [attributes["style"] for _, attributes in reader.tags if attributes.get("class") == "bar"]
    assert widths == ["width: 0.0%", "width: 100.0%"]
    assert "There are no runs." in page([], lambda name: None, datetime.now(UTC), title="Runs")


def at(minute: int, seconds: int) -> Timing:
    """A run that began in a minute of that hour."""
    return Timing(f"2026-03-04T05:{minute:02d}:00.000Z", "", seconds * 1000)


def test_what_can_be_chosen(tmp_path: Path) -> None:
    """Failures come first until somebody wants the newest; each choice hides what is not of its kind."""
    for name, status in (("a <b>", "ok"), ("b", "error"), ("b", "lost"), ("b", "running")):
        session = SessionRef(id=name, name=name, backend="colab")
        stored(tmp_path, "x", run(status=status, mode="terminal" if name == "b" else "kernel", session=session))
    content = page_of(tmp_path)
    reader = Reader(content)
    assert reader.text["label"] == [
        *("failures first", "newest first", "all 4", "failed 2", "successful 1", "others 1"),
        *("all modes", "python", "shell", "all sessions", "b", "a <b>"),
    ]
    cards = [attributes["class"] for tag, attributes in reader.tags if tag == "article"]
    assert cards == ["other shell s0", "error shell s0", "error shell s0", "ok python s1"]
    buttons = {str(attributes["id"]) for tag, attributes in reader.tags if tag == "input"}
    assert buttons == {attributes["for"] for tag, attributes in reader.tags if tag == "label"}
    for rule in (
        "#o-failed:checked ~ main .error { order: -1; }",
        "#k-error:checked ~ main article:not(.error) { display: none; }",
        "#s-s1:checked ~ main article:not(.s1) { display: none; }",
    ):
        assert rule in content
    assert content.index('id="s-s1"') < content.index("<main>")  # what it hides comes later, beside it


def test_sessions_and_their_costs(tmp_path: Path) -> None:
    """Time in which two runs went on counts once; what a machine costs that nobody has seen alone is not known."""
    History(tmp_path).append(entry("one", at(0, 1800)))
    History(tmp_path).append(entry("one", at(15, 1800)))
    History(tmp_path).append(entry("two", at(50, 60), accelerator="A100"))
    rows = Reader(page_of(tmp_path, {"colab T4": 1.2})).text
    assert rows["number"][4:] == ["1", "0", "1 min 0 s", "-", "2", "0", "45 min 0 s", "0.90"]
    assert "units" not in "".join(Reader(page_of(tmp_path)).text["number"])


def test_the_timeline(tmp_path: Path) -> None:
    """Each run is a mark where it began, as long as it took, and leads to its card."""
    History(tmp_path).append(entry("one", at(0, 900)))
    History(tmp_path).append(entry("two", at(30, 1800)))
    marks = [attributes for tag, attributes in Reader(page_of(tmp_path)).tags if tag == "a"]
    assert [(mark["href"], mark["style"]) for mark in marks] == [
        ("#run-0", "left: 50.00%; width: 50.00%"),
        ("#run-1", "left: 0.00%; width: 25.00%"),
    ]
    odd = entry("one", Timing("nonsense", "", 1 << 52))
    assert "#run-0" not in page([odd, odd], lambda name: None, datetime.now(UTC), title="Runs")


def entry(session: str, timing: Timing, accelerator: str = "T4") -> HistoryEntry:
    document = run(timing=timing, session=SessionRef(id=session, name=session, backend="colab"))
    made = entry_from_run(document, "x", HistoryRuntime(label="Colab", accelerator=accelerator), [])
    made.timestamp = timing.started
    return made


def test_curves(tmp_path: Path) -> None:
    """What a run printed is drawn, with its names as text."""
    stored(tmp_path, "train()", run(stdout="".join(f"epoch {i} loss=0.{i}\n" for i in range(1, 6))))
    reader = Reader(page_of(tmp_path))
    assert "curves: loss" in reader.text["summary"]
    assert [tag for tag, _ in reader.tags].count("polyline") == 1


def test_images_are_bounded_and_checked(tmp_path: Path) -> None:
    """The oldest images go first, a damaged one is not shown, a name cannot lead elsewhere, and `clear` takes all."""
    images = Images(tmp_path, max_total=3000)
    for size in range(1, 200):
        images.keep([DisplayData(data={"image/gif": base64.b64encode(bytes(size)).decode()})])
    kept = list((tmp_path / "images").iterdir())
    assert sum(path.stat().st_size for path in kept) < 3000 + 40 * 200
    newest = digest(bytes(199))
    assert images.read(newest) == bytes(199)
    (tmp_path / "images" / newest).write_bytes(b"damaged")
    assert images.read(newest) is None
    assert images.read("../history.jsonl") is None
    stored(tmp_path, "x", run())
    History(tmp_path).clear()
    assert list((tmp_path / "images").iterdir()) == []


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_a_browser_shows_it(tmp_path: Path) -> None:
    """A real browser executes nothing of what a run printed, and paints the picture."""
    picture = DisplayData(data={"image/png": base64.b64encode(png(400, 400)).decode()})
    stored(tmp_path, EVIL, run(stdout=EVIL, display_data=[picture]))
    (tmp_path / "page.html").write_text(page_of(tmp_path), "utf-8")

    def browse(*options: str) -> str:
        return subprocess.run(
            [
                "chromium",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                f"--user-data-dir={tmp_path}/profile",
                "--window-size=900,900",
                *options,
                f"file://{tmp_path}/page.html",
            ],
            capture_output=True,
            timeout=120,
            check=True,
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        ).stdout.decode()

    shown = Reader(browse("--dump-dom"))
    assert shown.text["title"] == ["Runs"]
    assert EVIL in shown.text["command"]
    browse(f"--screenshot={tmp_path}/shot.png")
    from PIL import Image

    with Image.open(tmp_path / "shot.png") as shot:
        colours = {colour: count for count, colour in shot.convert("RGB").getcolors(1 << 24) or []}
    assert colours.get((255, 0, 0), 0) > 100_000
