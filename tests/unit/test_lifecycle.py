"""The state machine of a rented runtime: every event in every state, and what the states mean."""

from __future__ import annotations

import itertools
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from lecoder_cgpu.store import lifecycle
from lecoder_cgpu.store.lifecycle import LOSS_PAUSE, Event, Stage, after
from lecoder_cgpu.store.session_store import Allocation, Lease, Record, new_record

NOW = 1_000_000.0
STAGES: tuple[Stage, ...] = typing.get_args(Stage)
EVENTS: tuple[Event, ...] = typing.get_args(Event)
ALLOCATIONS: dict[Stage, Allocation] = {
    "asked": Allocation(state="asked"),
    "booting": Allocation(state="booting"),
    "ready": Allocation(state="ready"),
    "unlisted": Allocation(state="ready", unlisted=NOW - LOSS_PAUSE),
    "closing": Allocation(state="closing"),
    "lost": Allocation(state="lost"),
    "released": Allocation(state="lost"),
}
# Every transition that changes the state; whatever is not here leaves it as it is.
TRANSITIONS: dict[tuple[Stage, Event], Stage] = {
    ("asked", "granted"): "booting",
    ("booting", "answered"): "ready",
    ("booting", "missing"): "unlisted",
    ("booting", "silent"): "unlisted",
    ("booting", "closed"): "closing",
    ("ready", "missing"): "unlisted",
    ("ready", "silent"): "unlisted",
    ("ready", "closed"): "closing",
    ("unlisted", "answered"): "ready",
    ("unlisted", "listed"): "ready",
    ("unlisted", "silent"): "lost",
    ("unlisted", "closed"): "closing",
    ("closing", "wanted"): "booting",
    ("closing", "ended"): "lost",
    ("lost", "listed"): "booting",
    ("lost", "closed"): "closing",
    ("lost", "renewed"): "asked",
    ("released", "renewed"): "asked",
}


def record_of(allocation: Allocation, *, ended: bool = False) -> Record:
    record = new_record("a", "colab", "Colab", "m-s-1")
    record.allocation = allocation
    record.lease = Lease(began=NOW, ended="idle" if ended else None)
    return record


@pytest.mark.parametrize(("stage", "event"), list(itertools.product(STAGES, EVENTS)))
def test_every_event_in_every_state(stage: Stage, event: Event) -> None:
    """The table above is the whole machine."""
    ended = stage == "released"
    assert lifecycle.stage(record_of(ALLOCATIONS[stage], ended=ended)) == stage
    found = after(structs.replace(ALLOCATIONS[stage]), event, NOW, ended=ended)
    # Another runtime is obtained under a lease that begins anew.
    reached = lifecycle.stage(record_of(found, ended=ended and event != "renewed"))
    assert reached == TRANSITIONS.get((stage, event), stage)


def test_a_runtime_that_boots_goes_on_booting_when_it_is_listed_again() -> None:
    """A listing that blinks says nothing of the server."""
    booting = after(Allocation(state="booting"), "missing", NOW)
    assert lifecycle.stage_of(booting) == "unlisted"
    assert lifecycle.stage_of(after(booting, "listed", NOW + 2)) == "booting"


def test_silence_counts_only_after_the_pause() -> None:
    """Two listings that lack it are `LOSS_PAUSE` apart, whatever happens between them; a clock set back begins anew."""
    missing = after(Allocation(state="ready"), "missing", NOW)
    for seconds in (0.0, 1.0, LOSS_PAUSE - 0.1):
        again = after(missing, "silent", NOW + seconds)
        assert lifecycle.stage_of(again) == "unlisted"
        assert again.unlisted == NOW
    assert lifecycle.stage_of(after(missing, "silent", NOW + LOSS_PAUSE)) == "lost"
    assert lifecycle.stage_of(after(missing, "missing", NOW + 10 * LOSS_PAUSE)) == "unlisted"
    back = after(missing, "silent", NOW - 3600)
    assert (lifecycle.stage_of(back), back.unlisted) == ("unlisted", NOW - 3600)
    assert lifecycle.waits(missing, NOW + 20) == LOSS_PAUSE - 20


def test_an_end_that_the_lender_accepted_is_not_taken_back() -> None:
    """Before that, the user may want the runtime again; it is held and costs meanwhile."""
    closing = after(Allocation(state="ready"), "closed", NOW)
    assert lifecycle.billing(record_of(closing)) == "running"
    assert not lifecycle.is_gone(record_of(closing))
    accepted = after(closing, "accepted", NOW)
    assert lifecycle.is_held(record_of(accepted))
    assert lifecycle.is_gone(record_of(accepted))
    assert lifecycle.billing(record_of(accepted)) == "unknown"
    assert after(accepted, "wanted", NOW) == accepted


def test_what_comes_of_a_request_that_was_withdrawn_is_given_back() -> None:
    """Until somebody wants it after all."""
    withdrawn = after(Allocation(state="asked", sent=True), "closed", NOW)
    assert (lifecycle.stage_of(withdrawn), withdrawn.unwanted) == ("asked", True)
    granted = after(structs.replace(withdrawn), "granted", NOW)
    assert (lifecycle.stage_of(granted), granted.told) == ("closing", False)
    wanted = after(structs.replace(withdrawn), "wanted", NOW)
    assert lifecycle.stage_of(after(wanted, "granted", NOW)) == "booting"


@pytest.mark.parametrize(
    ("stage", "held", "gone", "billing"),
    [
        ("asked", True, False, "unknown"),
        ("booting", True, False, "running"),
        ("ready", True, False, "running"),
        ("unlisted", True, False, "unknown"),
        ("closing", True, False, "running"),
        ("lost", False, True, "none"),
        ("released", False, True, "none"),
    ],
)
def test_what_the_states_mean(stage: Stage, held: bool, gone: bool, billing: str) -> None:
    """Held or gone, and what is said of the cost."""
    record = record_of(ALLOCATIONS[stage], ended=stage == "released")
    assert (lifecycle.is_held(record), lifecycle.is_gone(record), lifecycle.billing(record)) == (held, gone, billing)


def test_a_record_of_the_predecessor_is_ready() -> None:
    """It has no allocation."""
    record = new_record("a", "colab", "Colab", "m-s-1")
    assert lifecycle.stage(record) == "ready"


@given(st.lists(st.tuples(st.sampled_from(["listed", "missing", "answered", "silent"]), st.floats(0, 30)), max_size=30))
def test_a_runtime_that_is_seen_is_never_lost(course: list[tuple[Event, float]]) -> None:
    """Whatever a listing does: while no two sightings are `LOSS_PAUSE` apart, nothing is lost."""
    allocation, now, seen = Allocation(state="ready"), NOW, NOW
    for event, pause in course:
        now += pause
        if event in ("listed", "answered") or now - seen >= LOSS_PAUSE:
            event, seen = ("answered" if event == "answered" else "listed"), now
        allocation = after(allocation, event, now)
        assert lifecycle.stage_of(allocation) in ("ready", "unlisted")
