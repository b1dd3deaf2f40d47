"""The fake Colab for tests, and command lines that are logged in to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lecoder_cgpu.testing.colab import FakeColab
from lecoder_cgpu.testing.state import SCOPES, Account

from .cli import Cli


@pytest.fixture
def colab(tmp_path: Path) -> Iterator[FakeColab]:
    """A fake Colab of the test's own, with one free account."""
    with FakeColab(tmp_path / "colab") as fake:
        yield fake


@pytest.fixture
def colab_cli(colab: FakeColab, tmp_path: Path) -> Cli:
    """A command line that is logged in to the fake."""
    return logged_in(Cli(tmp_path / "home"), colab)


@pytest.fixture
def hollow(colab: FakeColab) -> FakeColab:
    """The fake with runtimes that boot at once and have no kernels: starting a server for each takes seconds."""
    return without_kernels(colab)


def without_kernels(colab: FakeColab) -> FakeColab:
    """The fake, changed so that its runtimes say they are up and have no kernels, and start no server for it."""
    colab.fail("GET /api/kernels", times=None, body=b"[]", status=200, headers={"Content-Type": "application/json"})
    return colab


def points_at(cli: Cli, colab: FakeColab) -> Cli:
    """The command line with a `config.json` as a user has it, but for where Google is. Nobody is logged in."""
    colab.configure(cli.home / "config", login=False)
    return cli


def logged_in(cli: Cli, colab: FakeColab, scopes: tuple[str, ...] = SCOPES, account: Account | None = None) -> Cli:
    """The same with `state/session.json`, both in the predecessor's format."""
    colab.configure(cli.home / "config", scopes, account)
    return cli
