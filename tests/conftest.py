"""What all tests share: which of them are slow, how hypothesis is set, and the real command line with a real server.

`pytest` runs the tests that are not marked `slow`. `pytest -m "slow or not slow"` runs all of them,
and `pytest PATH...` runs everything in the files that are named, slow or not.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from lecoder_cgpu.system import redaction
from tests.support.cli import Cli
from tests.support.colab import colab, colab_cli, hollow
from tests.support.fuzz import Fuzz
from tests.support.pty import pty_of
from tests.support.servers import JupyterServer, start_server

__all__ = ["colab", "colab_cli", "hollow", "pty_of"]  # fixtures that live beside what they are about


SEEDS = {"chaos_seed": 6, "life_seed": 14, "loss_seed": 2}  # how many there are without `--chaos`


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which of the random runs of tests/chaos to do, and how long each of tests/fuzz goes on."""
    parser.addoption("--chaos", metavar="N", help="random runs of each kind: the seeds 0 to N-1, or FIRST:END")
    parser.addoption("--matrix", action="store_true", help="try every command with every switch of the fake Colab")
    parser.addoption("--kills", type=int, default=8, metavar="N", help="how many commands of a day are killed")
    parser.addoption(
        "--fuzz", type=float, default=0, metavar="SECONDS", help="for each of tests/fuzz; 0: some examples"
    )
    parser.addoption("--not-the-default-subset", action="store_true", help="leave out what `pytest` alone has run")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`chaos_seed`, `life_seed` and `loss_seed` are each of the seeds that were asked for."""
    for name, number in SEEDS.items():
        if name in metafunc.fixturenames:
            first, _, end = (metafunc.config.getoption("--chaos") or str(number)).rpartition(":")
            metafunc.parametrize(name, range(int(first or 0), int(end)))


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    """How many commands tests/chaos/test_day_of_kills.py kills."""
    return int(request.config.getoption("--kills"))


@pytest.fixture
def fuzz(request: pytest.FixtureRequest) -> Fuzz:
    """Runs a check on random input; see tests/support/fuzz.py."""
    return Fuzz(request.config.getoption("--fuzz"))


# Everything in these folders and files starts servers, kernels and dozens of commands. Single tests elsewhere that take
# seconds carry the marker `slow` themselves.
SLOW = (
    "chaos/",
    "docs/",
    "e2e/",
    "fuzz/",
    "upgrade/",
    "contract/test_backends.py",
    "contract/test_bad_servers.py",
    "contract/test_colab_documents.py",
    "contract/test_documents.py",
    "unit/test_fake_faults.py",
    "unit/test_fake_public_api.py",
    "unit/test_fake_vm.py",
)

# Each test takes long here, and goes to the process of pytest-xdist that has room.
APART = ("chaos/test_life_cycle.py", "docs/test_console.py")

# One profile for all: a busy machine is no failure, and a failure says how to repeat it. Hosted checks (CI is set) try
# the same examples every time, so that a commit does not pass once and fail once. Elsewhere the examples are random.
settings.register_profile(
    "lecoder-cgpu",
    deadline=None,
    print_blob=True,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("lecoder-cgpu")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """`pytest` alone uses two processes, where pytest-xdist is installed."""
    if config.invocation_params.args or hasattr(config, "workerinput"):
        return
    if config.pluginmanager.hasplugin("xdist"):
        config.option.numprocesses = 2


def pytest_configure(config: pytest.Config) -> None:
    """Prepare signals, the choice of tests, and bytecode for the commands that tests start."""
    _restore_signals()
    _run_named_files_whole(config)
    if not hasattr(config, "workerinput"):  # a worker of pytest-xdist has inherited it
        _keep_bytecode(config)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """How pytest-xdist shares the tests out, whatever `--dist` says."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]
        """The tests of a file share servers and sessions, and stay in one process, but for those of `APART`."""

        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return nodeid if file.removeprefix("tests/").startswith(APART) else file

    config.option.loadscopereorder = False  # the order of `pytest_collection_modifyitems` counts
    return ByFile(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is slow by its place, begin with it, and give random input the time that was asked for."""
    for item in items:
        place = item.path.relative_to(Path(__file__).parent).as_posix()
        if place.startswith(SLOW):
            item.add_marker(pytest.mark.slow)
        seconds = item.config.getoption("--fuzz")
        if seconds and "fuzz" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(seconds * 2 + 180))
    # What takes long must not come last, when the other processes have nothing left to do.
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    if config.getoption("--not-the-default-subset"):
        first_quick = next(
            (place for place, item in enumerate(items) if not item.get_closest_marker("slow")), len(items)
        )
        config.hook.pytest_deselected(items=items[first_quick:])
        del items[first_quick:]


def _restore_signals() -> None:
    """Undo what `nohup` and background jobs do: they ignore these signals, and what is ignored is inherited. The
    commands that the tests start could not be interrupted then."""
    for name in ("SIGINT", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)


def _run_named_files_whole(config: pytest.Config) -> None:
    """Deselect nothing when files are named and no `-m` is given: the default subset is for `pytest` alone."""
    chosen = any(str(argument).startswith("-m") for argument in config.invocation_params.args)
    if config.args_source is pytest.Config.ArgsSource.ARGS and not chosen:
        config.option.markexpr = ""


def _keep_bytecode(config: pytest.Config) -> None:
    """Let the commands that tests start keep bytecode in a folder of their own when this process is told to write none.

    There are hundreds of them, and each would compile the whole package.
    """
    if not sys.dont_write_bytecode or "PYTHONPYCACHEPREFIX" in os.environ:
        return
    folder = tempfile.TemporaryDirectory(prefix="lecoder-cgpu-bytecode-")
    config.add_cleanup(folder.cleanup)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = folder.name


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """A stock jupyter_server with its default rate limits."""
    with start_server(tmp_path_factory.mktemp("jupyter")) as server:
        yield server


@pytest.fixture(autouse=True)
def _own_secrets() -> Iterator[None]:
    """What a test calls a secret, be it one digit, is none in the tests after it, which share its process."""
    before = set(redaction._protected), set(redaction._called_secret)
    yield
    redaction._protected.intersection_update(before[0])
    redaction._called_secret.intersection_update(before[1])
    redaction._spelled.clear()


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
