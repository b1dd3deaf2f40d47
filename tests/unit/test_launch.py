"""What a run is started with, as the helper is told."""

from __future__ import annotations

from lecoder_cgpu.helper.launch import Launch


def test_only_what_is_given_is_sent() -> None:
    """A helper of an earlier version is told of nothing that nobody asked for."""
    assert Launch().request() == {}
    assert Launch(cwd="data", timeout=0.0, pull=()).request() == {"cwd": "data", "timeout": 0.0}


def test_the_names_of_the_call() -> None:
    """Every field reaches the helper, under the name that it knows."""
    launch = Launch(
        cwd="data", environment={"A": "1"}, secrets={"B": "2"}, timeout=3, idle_timeout=4, digest="d", pull=("out",)
    )
    assert launch.request() == {
        "cwd": "data",
        "env": {"A": "1"},
        "secrets": {"B": "2"},
        "timeout": 3,
        "idleTimeout": 4,
        "digest": "d",
        "pull": ["out"],
    }
    assert launch.limits_request() == {"timeout": 3, "idleTimeout": 4, "digest": "d", "pull": ["out"]}


def test_values_are_not_shown() -> None:
    """A log or a traceback that shows a launch shows the names of its variables only."""
    shown = repr(Launch(environment={"USER_TOKEN": "abc-secret"}, secrets={"KEY": "xyz-secret"}))
    assert "USER_TOKEN" in shown
    assert "KEY" in shown
    assert "-secret" not in shown
