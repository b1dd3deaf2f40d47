"""Something that is done at an interval."""

from __future__ import annotations

import threading

import pytest

from lecoder_cgpu.system.periodic import every


def test_it_is_done_again_and_again_and_then_no_more() -> None:
    """While the body runs, and not after it; what is under way is waited for."""
    done: list[None] = []
    third = threading.Event()

    def action() -> None:
        done.append(None)
        if len(done) == 3:
            third.set()

    with every(0.01, action):
        assert third.wait(20)
    known = len(done)
    assert not any(thread.name.endswith("(work)") for thread in threading.enumerate())
    assert len(done) == known


def test_zero_is_never() -> None:
    """No thread is started."""
    before = threading.active_count()
    with every(0, lambda: pytest.fail("it was done")):
        assert threading.active_count() == before


def test_it_ends_with_a_failing_body() -> None:
    """The thread does not outlive the body."""
    with pytest.raises(KeyError), every(0.01, lambda: None):
        raise KeyError
    assert not any(thread.name.endswith("(work)") for thread in threading.enumerate())
