"""Commands of ours that messages and documents name, so that they can be typed as they stand: with --profile, they act
for the same profile as the command that names them."""

from __future__ import annotations

import re
from typing import Any

# One in a sentence that names no profile yet, and is not about profiles.
_OURS = re.compile(r"\blecoder-cgpu (?!--profile |profile )(?=--?[a-z]|[a-z])")


def addressed(text: str, profile: str) -> str:
    """A sentence of ours with that profile in each command."""
    return _OURS.sub(f"lecoder-cgpu --profile {profile} ", text)


def address(document: Any, profile: str) -> None:
    """The same for the commands that a document names."""
    error = getattr(document, "error", None)
    for holder, name in ((document, "next"), (document, "notice"), (error, "suggestion")):
        if isinstance(text := getattr(holder, name, None), str):
            setattr(holder, name, addressed(text, profile))
    steps = getattr(document, "next", None)
    for step in steps if isinstance(steps, list) else ():
        step.command = addressed(step.command, profile)
