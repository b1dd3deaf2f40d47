"""The history as one HTML page that needs nothing else: no script, no font, no image from anywhere.

Everything that comes from a run is text or an image; none of it can become markup, and the page's own policy would
keep a browser from loading or executing anything.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from ..jupyter import outputs
from ..jupyter.screen import render
from ..models.base import Timing
from ..models.history import HistoryError
from ..models.runs import Stopped

if TYPE_CHECKING:
    from ..models.history import HistoryEntry, StoredDisplay

FOLDED = 40  # lines of output that are shown unfolded
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

_STYLE = """
:root { --text: #1b1f24; --quiet: #59636e; --page: #f6f8fa; --card: #fff; --line: #d1d9e0; --code: #f6f8fa;
        --ok: #1a7f37; --error: #cf222e; --other: #9a6700; --bar: #54aeff; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6edf3; --quiet: #9198a1; --page: #0d1117; --card: #151b23; --line: #3d444d; --code: #0d1117;
          --ok: #3fb950; --error: #f85149; --other: #d29922; --bar: #1f6feb; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem; background: var(--page); color: var(--text);
       font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0 0 .25rem; }
.quiet { color: var(--quiet); }
dl.sums { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1rem 0 1.5rem; }
dl.sums div { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: .4rem .9rem; }
dl.sums dt { color: var(--quiet); font-size: .8rem; }
dl.sums dd { margin: 0; font-size: 1.2rem; font-variant-numeric: tabular-nums; }
article { background: var(--card); border: 1px solid var(--line); border-radius: 6px; margin: 0 0 1rem;
          padding: .75rem 1rem; }
header { display: flex; flex-wrap: wrap; gap: .25rem 1rem; align-items: baseline; }
.status { font-weight: 600; }
.ok .status { color: var(--ok); } .error .status { color: var(--error); } .other .status { color: var(--other); }
.bar { height: 4px; border-radius: 2px; background: var(--bar); margin: .4rem 0; min-width: 2px; }
pre { background: var(--code); border: 1px solid var(--line); border-radius: 6px; padding: .5rem .75rem;
      margin: .4rem 0; overflow-x: auto; font: 13px/1.45 ui-monospace, monospace; white-space: pre-wrap;
      overflow-wrap: anywhere; }
pre.command { border-left: 4px solid var(--bar); }
pre.failed { border-left: 4px solid var(--error); }
figure { margin: .4rem 0; } img { max-width: 100%; height: auto; background: #fff; }
figcaption, summary, .label { color: var(--quiet); font-size: .8rem; }
"""

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(entries: Sequence[HistoryEntry], image: Callable[[str], bytes | None], made: datetime, *, title: str) -> str:
    """The page.

    Args:
        entries: in the order in which they are to stand.
        image: gives an image by the name under which the history has it, None when it is gone.
        made: the moment to put on the page.
    """
    longest = max((_milliseconds(entry) or 0 for entry in entries), default=0)
    cards = "\n".join(_card(entry, image, longest) for entry in entries) or '<p class="quiet">There are no runs.</p>'
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_text(_POLICY)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_text(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{_text(title)}</h1>
<p class="quiet">made by lecoder-cgpu on {made:%Y-%m-%d %H:%M} UTC; times are UTC</p>
{_sums(entries)}
<main>
{cards}
</main>
</body>
</html>
"""


def _sums(entries: Sequence[HistoryEntry]) -> str:
    failed = sum(entry.status in ("error", "lost") for entry in entries)
    known = [milliseconds for entry in entries if (milliseconds := _milliseconds(entry)) is not None]
    sums = {
        "runs": str(len(entries)),
        "successful": str(sum(entry.status == "ok" for entry in entries)),
        "failed": str(failed),
        "time": _readable(sum(known)),
    }
    if entries:
        stamps = sorted(entry.timestamp for entry in entries)
        sums["from"], sums["to"] = _moment(stamps[0]), _moment(stamps[-1])
    items = "".join(f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in sums.items())
    return f'<dl class="sums">{items}</dl>'


def _card(entry: HistoryEntry, image: Callable[[str], bytes | None], longest: int) -> str:
    kind = {"ok": "ok", "error": "error", "lost": "error"}.get(entry.status, "other")
    milliseconds = _milliseconds(entry)
    facts = [_moment(entry.timestamp), entry.mode, entry.runtime.label]
    if isinstance(entry.session, str):
        facts.append(f"session {entry.session}")
    if isinstance(entry.run_id, str):
        facts.append(entry.run_id)
    if isinstance(entry.exit_code, int) and entry.exit_code:
        facts.append(f"exit status {entry.exit_code}")
    if isinstance(entry.stopped, Stopped):
        facts.append(f"stopped ({entry.stopped.by})")
    parts = [f'<article class="{kind}">', f'<header><span class="status">{_text(entry.status)}</span>']
    parts += [f'<span class="quiet">{_text(fact)}</span>' for fact in facts if fact]
    if milliseconds is not None:
        parts.append(f"<span>{_text(_readable(milliseconds))}</span>")
    parts.append("</header>")
    if milliseconds is not None and longest:
        parts.append(f'<div class="bar" style="width: {100 * milliseconds / longest:.1f}%"></div>')
    parts.append(_block(entry.command, "command"))
    for label, content in (("stdout", entry.stdout), ("stderr", entry.stderr)):
        if content:
            parts += [f'<div class="label">{label}</div>', _block(content, "output")]
    parts += [_display(display, image) for display in entry.display_data]
    parts.append(_failure(entry))
    parts.append("</article>")
    return "\n".join(part for part in parts if part)


def _failure(entry: HistoryEntry) -> str:
    if not isinstance(entry.error, HistoryError):
        return ""
    said = f"{entry.error.ename}: {entry.error.evalue}".strip(": ")
    lines = entry.error.traceback or entry.traceback
    return _block("\n".join(lines) if lines else said, "failed")


def _display(display: StoredDisplay, image: Callable[[str], bytes | None]) -> str:
    for mime, value in display.data.items():
        name = value.get("sha256") if isinstance(value, dict) else None
        content = image(name) if isinstance(name, str) and mime in outputs.EXTENSIONS else None
        if content is not None:
            encoded = base64.b64encode(content).decode()
            alternative = _text(str(display.data.get("text/plain") or mime)[:200])
            source = f"data:{_text(mime)};base64,{encoded}"
            return f'<figure><img alt="{alternative}" src="{source}"><figcaption>{_text(mime)}</figcaption></figure>'
    text = display.data.get("text/plain")
    if isinstance(text, str):
        return _block(text, "output")
    kinds = ", ".join(
        f"{mime} ({value['bytes']:,} bytes)"
        if isinstance(value, dict) and isinstance(value.get("bytes"), int)
        else mime
        for mime, value in display.data.items()
    )
    return f'<p class="quiet">an output that is not kept: {_text(kinds)}</p>' if kinds else ""


def _block(content: str, kind: str) -> str:
    text = (content if kind == "command" else render(content)).rstrip("\n")
    block = f'<pre class="{kind}">{_text(text)}</pre>'
    lines = text.count("\n") + 1
    return block if lines <= FOLDED else f"<details><summary>{lines} lines</summary>{block}</details>"


def _text(content: str) -> str:
    """Escaped text, without characters that a page must not contain."""
    return html.escape(_UNPRINTABLE.sub("\ufffd", content.replace("\r\n", "\n").replace("\r", "\n")))


def _milliseconds(entry: HistoryEntry) -> int | None:
    return entry.timing.duration_ms if isinstance(entry.timing, Timing) else None


def _moment(stamp: str) -> str:
    return stamp[:19].replace("T", " ")


def _readable(milliseconds: int) -> str:
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
