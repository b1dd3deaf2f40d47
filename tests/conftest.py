"""Fixtures for everything: the real command line, and a stock jupyter_server to run it against."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.colab import colab, colab_cli, hollow
from tests.support.pty import pty_of
from tests.support.servers import JupyterServer, start_server

__all__ = ["colab", "colab_cli", "hollow", "pty_of"]  # fixtures that live beside what they are about


def pytest_addoption(parser: pytest.Parser) -> None:
    """How many of the random runs of tests/chaos to do; the seeds from 0 on."""
    parser.addoption("--chaos", type=int, default=25, help="random runs of each kind over a failing network")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`chaos_seed` is each of the seeds that were asked for."""
    if "chaos_seed" in metafunc.fixturenames:
        metafunc.parametrize("chaos_seed", range(metafunc.config.getoption("--chaos")))


def pytest_configure() -> None:
    """Whoever runs us in the background or under nohup has these ignored, and what is ignored is inherited: commands
    that the tests start could not be interrupted then."""
    for name in ("SIGINT", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """A stock jupyter_server with its default rate limits."""
    with start_server(tmp_path_factory.mktemp("jupyter")) as server:
        yield server


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """The command line with an empty configuration."""
    return Cli(tmp_path)


@pytest.fixture(scope="module")
def lab(jupyter: JupyterServer, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """The command line with a session on the stock server, shared by the tests of a module."""
    command = Cli(tmp_path_factory.mktemp("lab"))
    name = command.home.name
    added = command(
        "sessions", "add", name, "--url", jupyter.url, "--token-stdin", "--json", stdin=jupyter.token.encode()
    )
    assert added.code == 0, added
    return command
