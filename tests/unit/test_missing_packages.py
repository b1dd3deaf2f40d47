"""A package that is not there is told in a line with what to install, and never as a bug of this tool."""

from __future__ import annotations

import pytest

from lecoder_cgpu import config, errors
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
