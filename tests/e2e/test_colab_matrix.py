"""Every switch that takes something away from a runtime, and every main command: on one session for each switch.

By default some commands for each switch, and all of them with everything at once; `--matrix` tries all with all.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lecoder_cgpu.testing.colab import FakeColab
from tests.support.cli import Cli
from tests.support.colab import logged_in
from tests.support.matrix import CHECKS, SPARSE, SWITCHES, sockets

MOST_SOCKETS = 10  # of one command, which takes less than a minute; with the switches, something fails all the time


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cli, FakeColab]]:
    with FakeColab(tmp_path_factory.mktemp("colab")) as colab:
        yield logged_in(Cli(tmp_path_factory.mktemp("home")), colab), colab


@pytest.mark.parametrize("name", SWITCHES)
def test_it_works_all_the_same(
    shared: tuple[Cli, FakeColab], tmp_path: Path, name: str, request: pytest.FixtureRequest
) -> None:
    """Completely, or with one true sentence instead, and without many sockets."""
    command, colab = shared
    checks = CHECKS if request.config.getoption("matrix") else SPARSE.get(name)
    if checks is None:
        pytest.skip("with --matrix")
    before = vars(colab.switches).copy()
    vars(colab.switches).update(SWITCHES[name])
    try:
        for check in checks:
            colab.requests.clear()
            (tmp_path / check).mkdir()
            CHECKS[check](command, tmp_path / check)
            assert sockets(colab) <= MOST_SOCKETS, check
    finally:
        vars(colab.switches).update(before)
        command("sessions", "close", "--all")
