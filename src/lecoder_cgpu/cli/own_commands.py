"""Commands of ours that messages and documents name, so that they can be typed as they stand: with --profile, they act
for the same profile as the command that names them; who typed `cgpu` reads `cgpu`."""

from __future__ import annotations

import re
import sys
from typing import Any

SHORT = re.compile(r"(?:^|[\\/])cgpu(?:\.exe)?$")  # a program of our second name

# One in a sentence that names no profile yet, and is not about profiles.
_OURS = re.compile(r"\b(lecoder-cgpu|cgpu) (?!--profile |profile )(?=--?[a-z]|[a-z])")
_LONG = re.compile(r"(?<![\w./-])lecoder-cgpu(?= (?:--?[a-z]|[a-zA-Z[]))")


def addressed(text: str, profile: str) -> str:
    """A sentence of ours with that profile in each command."""
    return _OURS.sub(rf"\1 --profile {profile} ", text)


def as_typed(text: str) -> str:
    """A sentence for people with our commands under the name that was typed; documents always have the long one."""
    return _LONG.sub("cgpu", text) if SHORT.search(sys.argv[0]) else text


def address(document: Any, profile: str) -> None:
    """The same for the commands that a document names."""
    error = getattr(document, "error", None)
    for holder, name in ((document, "next"), (document, "notice"), (error, "suggestion")):
        if isinstance(text := getattr(holder, name, None), str):
            setattr(holder, name, addressed(text, profile))
    steps = getattr(document, "next", None)
    for step in steps if isinstance(steps, list) else ():
        step.command = addressed(step.command, profile)
