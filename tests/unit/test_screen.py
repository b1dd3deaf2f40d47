"""Text as a terminal shows it, compared with a terminal emulator."""

from __future__ import annotations

import pyte
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lecoder_cgpu.jupyter.screen import LONGEST, Screen, render, strip_ansi


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("long line of text here\r\x1b[2Kshort", "short"),
        ("downloading 100%\r\x1b[Kdone", "done"),
        ("\x1b[31mabc\x1b[0m\rxy", "xyc"),
        ("abcdef\x1b[3D\x1b[1KX", "   Xef"),
        ("abc\x1b[1;31m\x1b(B\x1b[md\x1b]0;title\x07e\x1b]8;;http://x\x1b\\f", "abcdef"),
        ("one\ntwo\nthree\x1b[2A\r\x1b[2K1", "1\ntwo\nthree"),
        ("one\ntwo\nthree\x1b[2A\r\x1b[J1", "1"),
        ("a\tb\tc\n", "a\tb\tc\n"),
        ("a\tb\rxyz", "xyz     b"),
        ("abcdefghij\r\tX", "abcdefghXj"),
        ("日本語\rab", "ab本語"),
        ("日本語\ra", "a 本語"),
        ("日本語\b\b\bx", "日 x語"),
        ("e\u0301\rX", "X"),
        ("50%|█████     |\r100%|██████████|", "100%|██████████|"),
        ("top\x1b[?1049hinside\nof it\x1b[?1049lbottom", "topbottom"),
        ("0123\x1b[1G\x1b[0Knpm", "npm"),
        ("abc\x1b[", "abc"),
        ("abc\x1b", "abc"),
        ("a\x1b[99999999999CX\n", "a" + " " * 999 + "X\n"),
        ("dos\r\nlines\r\r\n", "dos\nlines\n"),
    ],
)
def test_controls_are_carried_out(written: str, shown: str) -> None:
    """The values are what xterm shows."""
    assert render(written) == shown


PIECES = st.one_of(
    st.text(alphabet="abXY é█│", min_size=1, max_size=6),
    st.sampled_from(
        ["\r", "\b", "\n", "\r\n", "\x1b[K", "\x1b[1K", "\x1b[2K", "\x1b[J", "\x1b[1J", "\x1b[2J", "\x1b[H"]
    ),
    st.sampled_from(
        ["\x1b[31m", "\x1b[0m", "\x1b[1;4m", "\x1b[38;5;9m", "\x1b[?25l", "\x1b7", "\x1b8", "\x1b[P", "\x1b[@"]
    ),
    st.builds("\x1b[{}{}".format, st.integers(0, 5), st.sampled_from("ABCDEFGXPd")),
)


def emulated(text: str, rows: int, columns: int = 400) -> list[str]:
    """The rows that pyte shows, with those that have scrolled away, without blanks at the ends."""
    screen = pyte.HistoryScreen(columns, rows, history=10_000, ratio=0.5)
    screen.set_mode(pyte.modes.LNM)
    stream = pyte.Stream(screen)
    stream.feed(text)
    above = ["".join(line[x].data for x in range(columns)) for line in screen.history.top]
    return trimmed([*above, *screen.display])


def trimmed(lines: list[str]) -> list[str]:
    lines = [line.rstrip() for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    return lines


@given(st.lists(PIECES, max_size=40), st.integers(2, 12))
@example(["a", "\n", "b", "\x1b[2A", "X"], 5)
def test_the_same_as_a_terminal_emulator(pieces: list[str], rows: int) -> None:
    """pyte, a terminal emulator, shows the same rows, on the screen and above it."""
    text = "".join(pieces)
    screen = Screen(rows)
    screen.feed(text)
    assert trimmed((screen.take() + screen.rest()).split("\n")) == emulated(text, rows)


@given(st.lists(PIECES, max_size=30), st.integers(1, 7))
def test_the_cut_makes_no_difference(pieces: list[str], size: int) -> None:
    """An escape sequence may be cut between two messages, with and without colour."""
    text = "".join(pieces)
    for colour in (False, True):
        whole, parts = Screen(6, colour=colour), Screen(6, colour=colour)
        whole.feed(text)
        taken = ""
        for start in range(0, len(text), size):
            parts.feed(text[start : start + size])
            taken += parts.take()
        assert taken + parts.rest() == whole.take() + whole.rest()


@given(st.lists(PIECES, max_size=30))
def test_colour_changes_no_character(pieces: list[str]) -> None:
    """With colour, the same text stands there, and escape sequences for nothing but colour."""
    text = "".join(pieces)
    assert strip_ansi(render(text, colour=True)) == strip_ansi(render(text))


@given(st.text())
def test_any_text_can_be_written(text: str) -> None:
    """Nothing raises, and text without controls is not changed."""
    for colour in (False, True):
        shown = render(text, colour=colour)
        if not set(text) & set("\r\b\x1b"):
            assert shown == text


def test_colours_follow_what_is_written_over() -> None:
    """Each character keeps the colour it was written in."""
    assert render("\x1b[31mabc\x1b[0m\rxy", colour=True) == "xy\x1b[31mc\x1b[0m"
    assert render("\x1b[31mred\x1b[0m as it came\x1b[K", colour=True) == "\x1b[31mred\x1b[0m as it came"
    assert render("\x1b[31mred\x1b[0m as it came\n", colour=True) == "\x1b[31mred\x1b[0m as it came\n"
    assert render("\x1b[1m\x1b[38;5;200ma\x1b[39mb\x1b[22mc\rX", colour=True) == "X\x1b[1mb\x1b[0mc"


def test_an_endless_bar_takes_no_room() -> None:
    """Rows above the screen are handed over, and a row that is written over stays one row."""
    screen = Screen()
    for number in range(20_000):
        screen.feed(f"\r{number:6d} █")
    assert screen.take() == ""
    assert screen.rest() == " 19999 █"
    screen.feed("\n" + "line\n" * 1000)
    assert screen.take().count("\n") == 1002 - 50


def test_output_without_line_ends_takes_no_room() -> None:
    """The beginning of a row that fills more than any screen is handed over; all of it is there, in order."""
    screen, taken = Screen(), "first\n"
    screen.feed(taken)
    got = ""
    for number in range(300):
        piece = f"{number:05d}" * 2000
        taken += piece
        screen.feed(piece)
        got += screen.take()
    assert len(screen.rest()) <= LONGEST
    assert got + screen.rest() == taken


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        pytest.param(  # rich: hides the cursor, goes to the first row of its two, erases each
            "\x1b[?25l"
            + "".join(f"\r\x1b[2K\x1b[1A\x1b[2K\x1b[35mone\x1b[0m {n}%\n\x1b[35mtwo\x1b[0m {n}%" for n in range(101))
            + "\n\x1b[?25hdone\n",
            "one 100%\ntwo 100%\ndone\n",
            id="rich",
        ),
        pytest.param(
            "   Compiling serde v1.0\n\r\x1b[K    Building [==>    ] 3/9: serde(build)\r\x1b[K"
            "\x1b[1m\x1b[32m   Compiling\x1b[0m app v0.1\n    Building [=====> ] 8/9: app\r\x1b[K    Finished in 2s\n",
            "   Compiling serde v1.0\n   Compiling app v0.1\n    Finished in 2s\n",
            id="cargo",
        ),
        pytest.param(
            "\x1b[1G\x1b[0K⠙\x1b[1G\x1b[0K⠹\x1b[1G\x1b[0K⠸ idealTree\x1b[1G\x1b[0K\nadded 1 package in 2s\n",
            "\nadded 1 package in 2s\n",
            id="npm",
        ),
        pytest.param(
            "Epoch 1/2\n"
            + "".join(f"\r\x1b[1m{n}/3\x1b[0m \x1b[32m{'━' * n}\x1b[0m{' ' * (3 - n)} 1s" for n in (1, 2, 3))
            + "\b\b2s\r3/3 ━━━ 2s - loss: 0.5\n",
            "Epoch 1/2\n3/3 ━━━ 2s - loss: 0.5\n",
            id="keras",
        ),
        pytest.param(
            "Downloading numpy.whl (16.9 MB)\r\n\x1b[?25l"
            "   \x1b[90m━━━\x1b[0m \x1b[32m0.0/16.9 MB\x1b[0m \x1b[31m?\x1b[0m eta \x1b[36m-:--:--\x1b[0m"
            "\r\x1b[2K   \x1b[91m━━\x1b[0m \x1b[32m9.2/16.9 MB\x1b[0m \x1b[31m71 MB/s\x1b[0m eta \x1b[36m0:00:01\x1b[0m"
            "\r\x1b[2K   \x1b[90m━━━\x1b[0m \x1b[32m16.9/16.9 MB\x1b[0m \x1b[31m7.2 MB/s\x1b[0m  0:00:02\r\n"
            "\x1b[?25hSaved\r\n",
            "Downloading numpy.whl (16.9 MB)\n   ━━━ 16.9/16.9 MB 7.2 MB/s  0:00:02\nSaved\n",
            id="pip",
        ),
    ],
)  # fmt: skip
def test_progress_of_known_programs(written: str, shown: str) -> None:
    """What these programs write leaves what they meant to leave."""
    assert render(written) == shown
