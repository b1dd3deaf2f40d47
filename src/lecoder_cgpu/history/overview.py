"""The upper part of the history's page: what to show of it, sums, sessions with their costs, and when what ran.

It works without a script: what is chosen is the state of radio buttons, and rules of style hide the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from ..models.base import Timing
from ..store import rates
from .page_text import escaped, milliseconds, moment, readable

if TYPE_CHECKING:
    from ..models.history import HistoryEntry

KINDS = {"ok": "ok", "error": "error", "lost": "error"}  # by status; all others are `other`
MODES = {"kernel": "python", "terminal": "shell"}
SESSIONS = 20  # that can be chosen, or have a row
MARKS = 2000  # runs on the timeline, the newest

STYLE = """
.choice { position: absolute; opacity: 0; pointer-events: none; }
nav { display: flex; flex-wrap: wrap; gap: .4rem 1rem; margin: 0 0 1.25rem; }
nav span { display: inline-flex; flex-wrap: wrap; gap: .3rem; align-items: center; }
nav label { background: var(--card); border: 1px solid var(--line); border-radius: 1rem; padding: .1rem .7rem;
            cursor: pointer; font-size: .85rem; overflow-wrap: anywhere; }
main { display: flex; flex-direction: column; }
.scroll { overflow-x: auto; margin: 0 0 1.25rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .2rem .9rem .2rem 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--quiet); font-weight: 400; }
td.number, th.number { text-align: right; }
.lane { display: flex; align-items: center; gap: .6rem; margin: .15rem 0; }
.lane .name { flex: 0 0 6rem; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; font-size: .8rem;
              color: var(--quiet); }
.track { position: relative; flex: 1; height: 1rem; background: var(--card); border-radius: 3px; min-width: 0; }
.track a { position: absolute; top: 0; bottom: 0; min-width: 3px; border-radius: 2px; background: var(--other); }
.track a.ok { background: var(--ok); } .track a.error { background: var(--error); }
.ends { display: flex; justify-content: space-between; margin: 0 0 1.25rem 6.6rem; font-size: .75rem;
        color: var(--quiet); }
"""


class Choice(NamedTuple):
    """One thing that can be chosen: the name of its button, what it says, and the class of the runs that it leaves."""

    button: str
    label: str
    leaves: str | None


def kind(entry: HistoryEntry) -> str:
    """The class of a run's card by how it ended."""
    return KINDS.get(entry.status, "other")


def sessions(entries: Sequence[HistoryEntry]) -> dict[str, str]:
    """The sessions of these runs, each with the class of its runs; those with the newest runs first."""
    names = dict.fromkeys(entry.session for entry in entries if isinstance(entry.session, str))
    return {name: f"s{number}" for number, name in enumerate(list(names)[:SESSIONS])}


def classes(entry: HistoryEntry, known: Mapping[str, str]) -> str:
    """The classes of a run's card."""
    session = known.get(entry.session, "") if isinstance(entry.session, str) else ""
    return " ".join(filter(None, (kind(entry), MODES.get(entry.mode, ""), session)))


def choices(entries: Sequence[HistoryEntry]) -> tuple[str, str]:
    """The rules of style of the buttons; and these, to stand before what they hide, with their labels."""
    groups = [group for group in _groups(entries) if len(group) > 1]
    buttons, rules, labels = [], [], []
    for number, group in enumerate(groups):
        shown = []
        for place, choice in enumerate(group):
            checked = " checked" if place == 0 else ""
            buttons.append(f'<input class="choice" type="radio" name="g{number}" id="{choice.button}"{checked}>')
            if choice.leaves == "failures":
                rules.append(f"#{choice.button}:checked ~ main .error {{ order: -1; }}")
            elif choice.leaves is not None:
                rules.append(f"#{choice.button}:checked ~ main article:not(.{choice.leaves}) {{ display: none; }}")
            rules.append(
                f"#{choice.button}:checked ~ nav label[for={choice.button}] "
                "{ background: var(--text); color: var(--page); }"
            )
            rules.append(
                f"#{choice.button}:focus-visible ~ nav label[for={choice.button}] {{ outline: 2px solid var(--text); }}"
            )
            shown.append(f'<label for="{choice.button}">{escaped(choice.label)}</label>')
        labels.append(f"<span>{''.join(shown)}</span>")
    return " ".join(rules), f"{''.join(buttons)}<nav>{''.join(labels)}</nav>" if groups else ""


def _groups(entries: Sequence[HistoryEntry]) -> list[list[Choice]]:
    """What can be chosen; of each group, the first is chosen at the beginning."""
    found = [kind(entry) for entry in entries]
    modes = {MODES[entry.mode] for entry in entries if entry.mode in MODES}
    names = {"error": "failed", "ok": "successful", "other": "others"}
    kinds = [Choice(f"k-{name}", f"{text} {found.count(name)}", name) for name, text in names.items() if name in found]
    order = [Choice("o-failed", "failures first", "failures"), Choice("o-new", "newest first", None)]
    return [
        order if 0 < found.count("error") < len(found) else [],
        [Choice("k-all", f"all {len(found)}", None), *kinds] if len(kinds) > 1 else [],
        [Choice("m-all", "all modes", None), *(Choice(f"m-{mode}", mode, mode) for mode in sorted(modes))]
        if len(modes) > 1
        else [],
        [
            Choice("s-all", "all sessions", None),
            *(Choice(f"s-{name}", shown, name) for shown, name in sessions(entries).items()),
        ]
        if len(sessions(entries)) > 1
        else [],
    ]


def sums(entries: Sequence[HistoryEntry]) -> str:
    """How many runs there are, how they ended, and how long they took."""
    known = [took for entry in entries if (took := milliseconds(entry)) is not None]
    found = {
        "runs": str(len(entries)),
        "successful": str(sum(entry.status == "ok" for entry in entries)),
        "failed": str(sum(kind(entry) == "error" for entry in entries)),
        "time": readable(sum(known)),
    }
    if entries:
        stamps = sorted(entry.timestamp for entry in entries)
        found["from"], found["to"] = moment(stamps[0]), moment(stamps[-1])
    items = "".join(f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}</dd></div>" for name, value in found.items())
    return f'<dl class="sums">{items}</dl>'


# --- sessions -------------------------------------------------------------------------------------------------------


def costs(entries: Sequence[HistoryEntry], prices: Mapping[str, float]) -> str:
    """A row for each session: how long something ran there, and what that took, where the price is known.

    Args:
        prices: units an hour by kind of machine, see `store/rates.py`.
    """
    rows = []
    priced = False
    for name in sessions(entries):
        own = [entry for entry in entries if entry.session == name]
        hours = sum(_worked(part) for part in _by_machine(own).values()) / 3600
        parts = [(prices.get(machine), _worked(part) / 3600) for machine, part in _by_machine(own).items()]
        units = [price * time for price, time in parts if price is not None]
        priced = priced or bool(units)
        cost = f"{'' if len(units) == len(parts) else 'at least '}{sum(units):.2f}" if units else "-"
        failed = sum(kind(entry) == "error" for entry in own)
        cells = [name, own[0].runtime.label, str(len(own)), str(failed), readable(round(hours * 3_600_000)), cost]
        rows.append("".join(f"<td{_right(place)}>{escaped(cell)}</td>" for place, cell in enumerate(cells)))
    if not rows:
        return ""
    headers = ["session", "runtime", "runs", "failed", "at work", "units while at work"]
    shown = headers if priced else headers[:-1]
    head = "".join(f"<th{_right(place)}>{text}</th>" for place, text in enumerate(shown))
    if not priced:
        rows = [row.rpartition("<td")[0] for row in rows]
    note = (
        '<p class="quiet">Units are the time at work by the price that was last seen; a machine that is held and idle '
        "costs as much, which is not counted here.</p>"
        if priced
        else ""
    )
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table>{note}</div>'


def _right(place: int) -> str:
    return ' class="number"' if place > 1 else ""


def _by_machine(entries: Sequence[HistoryEntry]) -> dict[str, list[HistoryEntry]]:
    found: dict[str, list[HistoryEntry]] = {}
    for entry in entries:
        backend = entry.backend if isinstance(entry.backend, str) else ""
        found.setdefault(rates.kind_of(backend, entry.runtime.accelerator.upper()), []).append(entry)
    return found


def _worked(entries: Sequence[HistoryEntry]) -> float:
    """Seconds in which at least one of these runs went on."""
    total, until = 0.0, float("-inf")
    for begin, end in sorted(filter(None, map(span, entries))):
        total += max(end - max(begin, until), 0.0)
        until = max(until, end)
    return total


def span(entry: HistoryEntry) -> tuple[float, float] | None:
    """When a run began and ended, in seconds since 1970; None if that is not known."""
    took = milliseconds(entry)
    began = _seconds(entry.timing.started if isinstance(entry.timing, Timing) else entry.timestamp)
    began = _seconds(entry.timestamp) if began is None else began
    if began is None or not 0 <= (took or 0) < 1 << 40:
        return None
    return began, began + (took or 0) / 1000


def _seconds(stamp: str) -> float | None:
    try:
        found = datetime.fromisoformat(stamp)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


# --- the timeline ---------------------------------------------------------------------------------------------------


def timeline(entries: Sequence[HistoryEntry]) -> str:
    """A lane for each session with its runs, each a link to its card. `entries` are numbered as their cards are."""
    known = [(number, entry, place) for number, entry in enumerate(entries[:MARKS]) if (place := span(entry))]
    if len(known) < 2:
        return ""
    first, last = min(place[0] for _, _, place in known), max(place[1] for _, _, place in known)
    whole = max(last - first, 1.0)
    lanes: dict[str, list[str]] = {name: [] for name in sessions(entries)}
    for number, entry, (begin, end) in known:
        name = entry.session if isinstance(entry.session, str) and entry.session in lanes else "others"
        left, wide = 100 * (begin - first) / whole, 100 * (end - begin) / whole
        title = f"{entry.status}, {moment(entry.timestamp)}: {entry.command.strip().partition(chr(10))[0][:80]}"
        lanes.setdefault(name, []).append(
            f'<a class="{kind(entry)}" style="left: {min(left, 99.5):.2f}%; width: {wide:.2f}%" href="#run-{number}" '
            f'title="{escaped(title)}" aria-label="{escaped(title)}"></a>'
        )
    shown = "".join(
        f'<div class="lane"><span class="name">{escaped(name)}</span><div class="track">{"".join(marks)}</div></div>'
        for name, marks in lanes.items()
        if marks
    )
    ends = "".join(
        f"<span>{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}</span>"
        for seconds in (first, last)
        if abs(seconds) < 1 << 37
    )
    return f'{shown}<div class="ends">{ends}</div>'
