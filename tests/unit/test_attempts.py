"""When work is run again, and when that would be a loop."""

from __future__ import annotations

from typing import Any

import pytest

from lecoder_cgpu.backends.protocol import Account, RuntimeRequest
from lecoder_cgpu.cli.restart_terms import estimate
from lecoder_cgpu.runs.attempts import BARREN, LONGEST_PAUSE, Past, Policy, decide
from lecoder_cgpu.sessions.free_tier import cannot_pay
from lecoder_cgpu.store.leases import Limits


def lost(*, fresh: bool = True) -> Past:
    return Past(cause="lost", ran=600.0, fresh=fresh)


def failed(**more: Any) -> Past:
    values: dict[str, Any] = {"cause": "failed", "ran": 600.0, "fresh": True, "exit_code": 1}
    return Past(**values | more)


def test_only_what_is_certain_and_allowed() -> None:
    """Losses under --restarts, failures under --retries; never what is unknown, or what the user ended."""
    everything = Policy(restarts=None, retries=99)
    for cause in ("finished", "unknown", "killed", "limit", "refused"):
        assert not decide(everything, [Past(cause=cause, ran=600.0, fresh=True)]).again
    assert not decide(Policy(retries=3), [lost()]).again
    assert not decide(Policy(restarts=3), [failed()]).again
    assert decide(Policy(restarts=1), [lost()]).again
    assert decide(Policy(retries=1), [failed()]).again


def test_numbers_count_each_by_itself() -> None:
    """N losses and M failures are allowed, in any order; unlimited is without end while results come home."""
    policy = Policy(restarts=2, retries=1)
    assert decide(policy, [lost(), failed(), lost()]).again
    used = decide(policy, [lost(), failed(), lost(), lost()])
    assert (used.again, used.why) == (False, "its runtime was lost 3 times, and --restarts allows 2")
    assert decide(policy, [failed(), failed()]).why == "it has failed 2 times, and --retries allows 1"
    assert decide(Policy(restarts=None), [lost()] * 500).again


@pytest.mark.parametrize(
    ("past", "why"),
    [
        (failed(ran=59.0), "it failed after 59 s of its own running time, and would do so again"),
        (failed(exit_code=2), "exit status 2 is not among those of --retry-on"),
        (failed(error="ModuleNotFoundError"), "ModuleNotFoundError would come again"),
    ],
)
def test_failures_that_would_come_again(past: Past, why: str) -> None:
    """A program that fails at once, with another status, or for its own text, is not run again."""
    assert decide(Policy(retries=9, retry_on=frozenset({1})), [past]).why == why


def test_crash_loops_end() -> None:
    """Three attempts in a row without a new generation are enough, of whatever kind; one that brought some begins the
    count anew. Pauses double meanwhile."""
    policy = Policy(restarts=None, retries=9)
    barren = [lost(fresh=False)] * (BARREN - 1)
    assert decide(policy, barren).again
    assert "3 attempts in a row brought no new generation" in decide(policy, [*barren, lost(fresh=False)]).why
    assert not decide(policy, [lost(fresh=False), failed(fresh=False), lost(fresh=False)]).again
    assert decide(policy, [*barren, lost(), *barren]).again
    assert decide(policy, [lost()]).pause < decide(policy, barren).pause <= LONGEST_PAUSE


def test_memory_that_was_used_up() -> None:
    """Another machine of the kind would die in the same way."""
    assert decide(Policy(restarts=3), [Past(cause="oom")]).why == "its memory was used up, and would be again"


def test_what_all_attempts_may_cost() -> None:
    """What is told before the first: the rate as far as it was seen, and the limits over all attempts."""
    limits = Limits(max_units=20.0, max_runtime=7200.0)
    assert estimate("5", RuntimeRequest(limits=limits), 1.5) == (
        "--restarts 5: 1.5 units an hour; all attempts together: at most 20 units (--max-units) and "
        "at most 2 h, about 3 units (--max-runtime)"
    )
    assert "no limit on cost (--max-units sets one)" in estimate("1", RuntimeRequest(), None)


@pytest.mark.parametrize(
    ("account", "accelerator", "rate", "pays"),
    [
        (Account(balance=50.0, tier="pro"), "L4", 3.0, True),
        (Account(balance=0.4, tier="pro"), "L4", 3.0, False),
        (Account(balance=0.4, tier="pro"), "L4", None, True),  # nobody has seen what it costs
        (Account(balance=0.0, tier="pro"), "L4", None, False),
        (Account(balance=0.0, tier="pro", free_units=5.0), "T4", 1.0, True),
        (Account(balance=-0.1, tier="pro"), "T4", 1.0, False),
        (Account(tier="free", free_units=0.0), "T4", None, False),
        (Account(tier="free", free_units=0.0), "NONE", None, True),  # it costs nothing, or may
        (Account(tier="free"), "T4", 1.0, True),  # the lender does not say
        (Account(tier="pro", free_units=0.0), "T4", 1.0, True),
        (Account(), "T4", 1.0, True),
    ],
)
def test_what_an_account_can_pay(account: Account, accelerator: str, rate: float | None, pays: bool) -> None:
    """Another attempt needs units for ten minutes; what is unknown stops nothing."""
    why = cannot_pay(account, accelerator, rate)
    assert (why is None) is pays
    assert why is None or "units left" in why
