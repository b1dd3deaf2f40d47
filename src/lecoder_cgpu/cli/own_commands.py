"""Commands of ours that messages and documents name, so that they can be typed as they stand: with --profile and with
--session, they act for the same ones as the command that names them; who typed `cgpu` reads `cgpu`."""

from __future__ import annotations

import re
import shlex
import sys
from typing import Any

SHORT = re.compile(r"(?:^|[\\/])cgpu(?:\.exe)?$")  # a program of our second name

# One in a sentence that names no profile yet, and is not about profiles.
_OURS = re.compile(r"\b(lecoder-cgpu|cgpu) (?!--profile |profile )(?=--?[a-z]|[a-z])")
# One that acts on the active session, and names none itself. Jobs are found by their ids, in whatever session.
_ON_A_SESSION = re.compile(
    r"\b((?:lecoder-cgpu|cgpu) (?:--profile \S+ )?(?:ls|cat|rm|upload|download|sync|install|connect|kernel [a-z]+|run))"
    r"(?= |$|[,;)])(?![^;,]*(?: --session | -s | --new-runtime| --rm| --[gt]pu| --cpu| --attach))"
)
_LONG = re.compile(r"(?<![\w./-])lecoder-cgpu(?= (?:--?[a-z]|[a-zA-Z[]))")


def addressed(text: str, profile: str | None, session: str | None = None) -> str:
    """A sentence of ours with that profile in each command, and that session in each that acts on one."""
    if profile is not None:
        text = _OURS.sub(rf"\1 --profile {profile} ", text)
    if session is None:
        return text
    return _ON_A_SESSION.sub(lambda found: f"{found[0]} --session {shlex.quote(session)}", text)


def as_typed(text: str) -> str:
    """A sentence for people with our commands under the name that was typed; documents always have the long one."""
    return _LONG.sub("cgpu", text) if SHORT.search(sys.argv[0]) else text


def address(document: Any, profile: str | None, session: str | None = None) -> None:
    """The same for the commands that a document names."""
    error = getattr(document, "error", None)
    for holder, name in ((document, "next"), (document, "notice"), (error, "suggestion")):
        if isinstance(text := getattr(holder, name, None), str):
            setattr(holder, name, addressed(text, profile, session))
    steps = getattr(document, "next", None)
    for step in steps if isinstance(steps, list) else ():
        step.command = addressed(step.command, profile, session)
