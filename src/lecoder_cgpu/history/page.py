"""The history as one HTML page that needs nothing else: no script, no font, no image from anywhere. `overview` makes
its upper part.

Everything that comes from a run is text or an image; none of it can become markup, and the page's own policy would
keep a browser from loading or executing anything.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from ..jupyter import outputs
from ..jupyter.screen import render
from ..models.history import HistoryError
from ..models.runs import Stopped
from . import curves, metrics, overview
from .page_text import escaped, milliseconds, moment, readable

if TYPE_CHECKING:
    from ..models.history import HistoryEntry, StoredDisplay

FOLDED = 40  # lines of output that are shown unfolded
CURVES = 3  # of a run that are drawn
LEAST = 3  # points of a curve that says more than the text

_STYLE = """
:root { --text: #1b1f24; --quiet: #59636e; --page: #f6f8fa; --card: #fff; --line: #d1d9e0; --code: #f6f8fa;
        --ok: #1a7f37; --error: #cf222e; --other: #9a6700; --bar: #54aeff; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6edf3; --quiet: #9198a1; --page: #0d1117; --card: #151b23; --line: #3d444d; --code: #0d1117;
          --ok: #3fb950; --error: #f85149; --other: #d29922; --bar: #1f6feb; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem; background: var(--page); color: var(--text);
       font: 15px/1.5 system-ui, sans-serif; }
article { scroll-margin-top: 1rem; } article:target { outline: 2px solid var(--bar); }
@media (max-width: 30rem) { body { padding: .75rem; } }
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


def page(
    entries: Sequence[HistoryEntry],
    image: Callable[[str], bytes | None],
    made: datetime,
    *,
    title: str,
    prices: Mapping[str, float] | None = None,
) -> str:
    """The page.

    Args:
        entries: the newest first.
        image: gives an image by the name under which the history has it, None when it is gone.
        made: the moment to put on the page.
        prices: units an hour by kind of machine, as far as they were seen.
    """
    longest = max((milliseconds(entry) or 0 for entry in entries), default=0)
    known, (rules, buttons) = overview.sessions(entries), overview.choices(entries)
    cards = "\n".join(
        _card(entry, image, longest, f'id="run-{number}" class="{overview.classes(entry, known)}"')
        for number, entry in enumerate(entries)
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{escaped(_POLICY)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escaped(title)}</title>
<style>{_STYLE}{overview.STYLE}{curves.STYLE}{rules}</style>
</head>
<body>
<h1>{escaped(title)}</h1>
<p class="quiet">made by lecoder-cgpu on {made:%Y-%m-%d %H:%M} UTC; times are UTC</p>
{overview.sums(entries)}
{overview.costs(entries, prices or {})}
{overview.timeline(entries)}
{buttons}
<main>
{cards or '<p class="quiet">There are no runs.</p>'}
</main>
</body>
</html>
"""


def _card(entry: HistoryEntry, image: Callable[[str], bytes | None], longest: int, attributes: str) -> str:
    took = milliseconds(entry)
    facts = [
        moment(entry.timestamp),
        readable(took) if took is not None else "",
        overview.MODES.get(entry.mode, entry.mode),
    ]
    facts.append(entry.runtime.label)
    if isinstance(entry.session, str):
        facts.append(f"session {entry.session}")
    if isinstance(entry.run_id, str):
        facts.append(entry.run_id)
    if isinstance(entry.exit_code, int) and entry.exit_code:
        facts.append(f"exit status {entry.exit_code}")
    if isinstance(entry.stopped, Stopped):
        facts.append(f"stopped ({entry.stopped.by})")
    parts = [f"<article {attributes}>", f'<header><span class="status">{escaped(entry.status)}</span>']
    parts += [f'<span class="quiet">{escaped(fact)}</span>' for fact in facts if fact]
    parts.append("</header>")
    if took is not None and longest:
        parts.append(f'<div class="bar" style="width: {100 * took / longest:.1f}%"></div>')
    parts.append(_block(entry.command, "command"))
    for label, content in (("stdout", entry.stdout), ("stderr", entry.stderr)):
        if content:
            parts += [f'<div class="label">{label}</div>', _block(content, "output")]
    parts += [_curves(entry), *(_display(display, image) for display in entry.display_data)]
    parts.append(_failure(entry))
    parts.append("</article>")
    return "\n".join(part for part in parts if part)


def _curves(entry: HistoryEntry) -> str:
    """The numbers in what is kept of its output."""
    series = [item for item in metrics.of_streams([entry.stdout, entry.stderr]) if len(item.y) >= LEAST][:CURVES]
    if not series:
        return ""
    names = ", ".join(item.name for item in series)
    return f"<details><summary>curves: {escaped(names)}</summary>{curves.svg(series, names, style='')}</details>"


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
            alternative = escaped(str(display.data.get("text/plain") or mime)[:200])
            source = f"data:{escaped(mime)};base64,{encoded}"
            return f'<figure><img alt="{alternative}" src="{source}"><figcaption>{escaped(mime)}</figcaption></figure>'
    text = display.data.get("text/plain")
    if isinstance(text, str):
        return _block(text, "output")
    kinds = ", ".join(
        f"{mime} ({value['bytes']:,} bytes)"
        if isinstance(value, dict) and isinstance(value.get("bytes"), int)
        else mime
        for mime, value in display.data.items()
    )
    return f'<p class="quiet">an output that is not kept: {escaped(kinds)}</p>' if kinds else ""


def _block(content: str, kind: str) -> str:
    text = (content if kind == "command" else render(content)).rstrip("\n")
    block = f'<pre class="{kind}">{escaped(text)}</pre>'
    lines = text.count("\n") + 1
    return block if lines <= FOLDED else f"<details><summary>{lines} lines</summary>{block}</details>"
