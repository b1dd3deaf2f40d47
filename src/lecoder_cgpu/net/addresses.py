"""Names from outside as parts of an address. Pure."""

from __future__ import annotations

from urllib.parse import quote

from .. import errors


def segment(name: str) -> str:
    """A name (an id, a user, a terminal) as one part of an address's path, which it cannot leave.

    Raises:
        errors.UnexpectedAnswer: no part of a path has that name.
    """
    if name in ("", ".", ".."):  # a client or a server takes these as directions, however they are spelled
        raise errors.UnexpectedAnswer(
            f"the server gives something the name {name!r}, which no address can have", retryable=False, hint=_HINT
        )
    return quote(name.encode("utf-8", "replace"), safe="")


def segments(path: str) -> str:
    """A path from outside as several such parts.

    Raises:
        errors.UnexpectedAnswer: as above, of one of them.
    """
    return "/".join(map(segment, path.split("/")))


_HINT = "lecoder-cgpu debug tail shows what was asked"
