"""When the keeper fetches for a job, and when it has nothing more to do."""

from __future__ import annotations

from pathlib import Path

from lecoder_cgpu.files import pull_plans
from lecoder_cgpu.files.pull_plans import RETRIES, PullPlan, after_fetch, is_due, over
from lecoder_cgpu.files.pulling import Pulling, Result
from lecoder_cgpu.keeper.decisions import KeeperState, step
from lecoder_cgpu.keeper.events import End, Looked, Withdraw


def plan(run: str = "run-1") -> PullPlan:
    pulling = Pulling(owner=run, results=[Result("out", "/here/out")], every=300.0)
    return PullPlan(run=run, session="s", specs=["out"], pulling=pulling, tried=1000.0)


def test_when_it_is_due() -> None:
    """At its interval, also when the clock was set back; never once it has ended."""
    assert not is_due(plan(), 1299.0)
    assert is_due(plan(), 1300.0)
    assert is_due(plan(), 900.0)
    assert not is_due(over(plan(), 1000.0, "its session was closed"), 9999.0)


def test_what_a_fetch_leaves() -> None:
    """A job that goes on is fetched again; one that has ended until it was fetched, or has failed often enough."""
    assert not after_fetch(plan(), 1300.0, finished=False, problem="the disk is full").ended
    assert after_fetch(plan(), 1300.0, finished=True, problem=None).ended
    found = plan()
    for number in range(RETRIES):
        assert not found.ended, number
        found = after_fetch(found, 1300.0, finished=True, problem="the disk is full")
    assert (found.ended, found.problem) == (True, "the disk is full")


def test_on_disk(tmp_path: Path) -> None:
    """Plans are found again, what is damaged is passed over, and what ended long ago is forgotten."""
    assert pull_plans.plans(tmp_path) == []
    pull_plans.write(tmp_path, plan("run-1"))
    pull_plans.write(tmp_path, over(plan("run-2"), 2000.0, "lost"))
    (pull_plans.folder(tmp_path) / "run-3.json").write_text("{")
    assert [item.run for item in pull_plans.plans(tmp_path)] == ["run-1", "run-2"]
    assert pull_plans.unfinished(tmp_path) == [plan("run-1")]
    pull_plans.tidy(tmp_path, 2000.0 + pull_plans.KEPT + 1)
    assert [item.run for item in pull_plans.plans(tmp_path)] == ["run-1"]
    pull_plans.remove(tmp_path, "run-1")
    assert pull_plans.find(tmp_path, "run-1") is None
    assert pull_plans.find(tmp_path, "../sessions") is None


def test_the_keeper_stays_as_long_as_something_is_to_be_fetched() -> None:
    """It ends when neither a runtime is held nor a result is to come."""
    state, actions = step(KeeperState(interval=60.0, heard=0.0), Looked((), pulls=True), 1.0)
    assert state.stage == "keeping"
    assert not any(isinstance(action, Withdraw | End) for action in actions)
    state, actions = step(state, Looked(()), 2.0)
    assert any(isinstance(action, Withdraw) for action in actions)
    state, actions = step(state, Looked((), pulls=True), 3.0)  # a job was started at this very moment
    assert state.stage == "keeping"
    state, _ = step(state, Looked(()), 4.0)
    state, actions = step(state, Looked(()), 5.0)
    assert isinstance(actions[-1], End)
