"""Text of any origin as people may see it: as text, which acts on no terminal and passes for no line of our own."""

from __future__ import annotations

import re

# What a terminal would obey and no reader would see: control characters, escape sequences of both kinds, and what turns
# the direction of writing around. Halves of surrogate pairs stand for bytes that are not UTF-8.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_ENDS = re.compile("[\n\r\x0b\x0c\x85\u2028\u2029]")


def printable(text: str) -> str:
    """Text of any origin as people may see it: what would act on a terminal becomes `\\x1b` and the like.

    All that the Printer writes passes through here, but for answers that are bytes: the program's own output.
    """
    if text.isascii() and text.isprintable():
        return text
    return _UNSEEN.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    number = ord(found[0])
    if 0xDC80 <= number <= 0xDCFF:  # a byte of a name or an argument
        return f"\\x{number - 0xDC00:02x}"
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def in_a_line(name: str) -> str:
    """A name from outside, within a line: it may have ends of lines in it, and must not begin a line of its own."""
    return _ENDS.sub(_escaped, name)


def indented(text: str) -> str:
    """A message of several lines: none but the first may look like one of our own, such as a hint."""
    return text.rstrip("\n").replace("\n", "\n  ")
