"""A package that is not there is told in a line with what to install, and never as a bug of this tool."""

from __future__ import annotations

import pytest

from lecoder_cgpu import config, errors
from lecoder_cgpu.cli import run_display
from lecoder_cgpu.cli.output import Printer
from lecoder_cgpu.models.runs import Run
from lecoder_cgpu.system import faults


@pytest.mark.parametrize(
    ("module", "wanted"),
    [*((modules[0], f"lecoder-cgpu[{extra}]") for extra, modules in config.EXTRAS.items()), ("click", "lecoder-cgpu")],
)
def test_what_to_install(module: str, wanted: str) -> None:
    told = faults.of_this_machine(ModuleNotFoundError(f"No module named {module!r}", name=f"{module}.part"))
    assert isinstance(told, errors.ConfigError)
    assert (module in told.message, f"'{wanted}'" in (told.hint or "")) == (True, True)


def test_a_part_of_ours_is_a_bug() -> None:
    for name in ("lecoder_cgpu.nothing", None):
        assert isinstance(faults.of_this_machine(ImportError("no", name=name)), errors.InternalError)


def test_where_it_is_to_be_installed(capfd: pytest.CaptureFixture[str]) -> None:
    """What this tool lacks on this machine, and what code lacks on its runtime."""
    ours = errors.ConfigError("it is not there", name="NoSocks", hint="pip install 'lecoder-cgpu[socks]'")
    theirs = errors.ImportFailure("No module named 'numpy'", name="ModuleNotFoundError", hint="pip install numpy")
    for error in (ours, theirs):
        run_display.tell(Printer("human"), Run.not_started(error, "kernel"), None)
    told = [line for line in capfd.readouterr().err.splitlines() if line.startswith("hint: ")]
    assert told == ["hint: pip install 'lecoder-cgpu[socks]'", "hint: lecoder-cgpu install numpy"]
