"""What an agent reads of a document: within a bound, and with tools where the command line names its commands. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

from ..api.suggestions import reworded

ROOM = 12 << 10  # bytes of an answer beside the streams that were asked for
SHORTEST = 60  # characters, or items, to which a text or a list is cut at last
_SAID = ("suggestion", "next", "get", "message", "notice", "reason", "problem")  # fields that may name a command

# The first words of a command, and what an agent does instead. `{1}` is the first argument that is no option.
_TOOLS: tuple[tuple[str, str], ...] = (
    ("run --attach", "the tool job_logs with job={attach}, stream, offset and limit"),
    ("run --backend", "a person can start this server with lecoder-cgpu --backend {backend} mcp"),
    ("run", "the tool run"),
    ("job wait", "the tool job_wait with job={1}"),
    ("job show", "the tool job_wait with job={1} and wait=0"),
    ("job result", "the tool job_wait with job={1}"),
    ("job logs", "the tool job_logs with job={1}"),
    ("job kill", "the tool job_kill with job={1}"),
    ("job list --all-sessions", "the same with session"),
    ("job list", "the tool status with of=jobs"),
    ("logs show", "the tool history with run={1}"),
    ("logs", "the tool history"),
    ("sessions ensure", "the tool ensure with session={1}"),
    ("sessions create", "the tool ensure with session={1}"),
    ("sessions adopt", "the tool ensure with endpoint={1}"),
    ("sessions close --force", ""),
    ("sessions close --all", "the tool close with all=true"),
    ("sessions close", "the tool close with session={1}"),
    ("sessions clean", "the tool close with its session"),
    ("sessions switch", "the argument session={1}"),
    ("sessions list", "the tool status"),
    ("sessions", "the tool status"),
    ("status", "the tool status"),
    ("usage", "the tool status with of=usage"),
    ("gpus", "the tool status with of=gpus"),
    ("kernel", "the tool kernel with action={0}"),
    ("install", "the tool install with packages={1}"),
    ("notebook fetch", "the tool notebook with job={1}"),
    ("notebook run", "the tool notebook"),
    ("upload", "the tool push"),
    ("download", "the tool pull"),
    ("sync", "the tool sync"),
    ("ls", "the tool files with path={1}"),
    ("close", "the tool close with session={1}"),
)
# Options of commands that tools have as arguments.
_OPTIONS = re.compile(
    r"(?<![\w-])--(gpu|cpu|tpu|high-ram|timeout|wait|max-output|kernel-name|cwd|session|key|delete|dry-run)\b"
)
_OTHERS: tuple[tuple[re.Pattern[str], str], ...] = (  # what else is a command, or a word of the library
    (re.compile(r"\bpip install ([\w.,<>=~!\[\]-]+)(?![\w\"'])"), r"the tool install with packages=\1"),
    (re.compile(r"\bhelp\([\w.]+\) tells what it takes"), "its inputSchema in tools/list tells what it takes"),
    (re.compile(r"\bsee what is there: ls (.+)"), r"see what is there, in \1 here"),
    (re.compile(r"\badd --backend (\w+)"), r"have a person start this server with --backend \1"),
)
_CHOICE = re.compile(r"(?<![\w-])-s ([\w.-]+)")


def text(document: Any, streams: int = 0, *, room: int = ROOM) -> str:
    """A document as JSON, of at most `room` bytes beside two streams of `streams` bytes each."""
    told = _told(document)
    limit = room + 2 * streams
    most = limit
    written = _json(told)
    while len(written.encode()) > limit and most > SHORTEST:
        most = max(most // 2, SHORTEST)
        short = _cut(told, most)
        if isinstance(short, dict):
            short["answerCut"] = True
        written = _json(short)
    return written


def _json(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace").decode()


def _cut(node: Any, most: int) -> Any:
    if isinstance(node, str) and len(node) > most:
        half = most // 2
        return f"{node[:half]}\n[… {len(node) - 2 * half} characters left out …]\n{node[-half:]}"
    if isinstance(node, list):
        return [_cut(item, most) for item in node[: max(most // 40, 3)]]
    if isinstance(node, dict):
        kept = list(node.items())[: max(most // 10, 40)]
        return {key[:200]: _cut(value, most) for key, value in kept}
    return node


def _told(node: Any, key: str = "") -> Any:
    if isinstance(node, dict):
        return {name: _told(value, name) for name, value in node.items()}
    if isinstance(node, list):
        return [_told(item, key) for item in node]
    return suggestion(node) if isinstance(node, str) and key in _SAID else node


def suggestion(said: str) -> str:
    """A sentence in which tools and arguments stand for commands and options; what only a person can do says so."""
    named = reworded(said, _TOOLS, lambda command: f"a person can do that: {command}")
    named = _CHOICE.sub(r"the argument session=\1", named)
    for pattern, instead in _OTHERS:
        named = pattern.sub(instead, named)
    return _OPTIONS.sub(lambda found: "the argument " + found[1].replace("-", "_"), named)
