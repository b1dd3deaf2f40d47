"""The last line of a command: what is held, and what it costs together."""

from __future__ import annotations

import pytest

from lecoder_cgpu.cli import held
from lecoder_cgpu.models.base import Held


def machine(name: str, rate: float | None) -> Held:
    return Held(session=name, label="Colab", certain=True, units_per_hour=rate, idle_seconds=None)


@pytest.mark.parametrize(
    ("rates", "told"),
    [
        ((1.2,), " (1.2 units an hour)"),
        ((1.2, 2.0), " (together 3.2 units an hour)"),
        ((1.2, None), " (together at least 1.2 units an hour)"),
        ((None,), ""),
        ((None, None), ""),
    ],
)
def test_what_it_costs_as_far_as_it_is_known(rates: tuple[float | None, ...], told: str) -> None:
    names = [f"s{number}" for number in range(len(rates))]
    line = held.line([machine(name, rate) for name, rate in zip(names, rates, strict=True)])
    machines = "; ".join(f"{name}, Colab" for name in names)
    end = "it now: lecoder-cgpu sessions close s0" if len(names) == 1 else "them now: lecoder-cgpu sessions close --all"
    assert line == f"still running and using units: {machines}{told}; to stop {end}"
