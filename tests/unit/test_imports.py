"""What commands import: their start is most of the time that people and agents wait for them.

The modules that are expensive are named, and the number of all bounded, the interpreter's own included. Who adds to a
bound should know what for: ten modules are some four milliseconds of every call.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.imports import imported

HEAVY = (
    "asyncio", "click", "dataclasses", "email", "filelock", "google.auth", "h11", "hashlib", "httpx2",
    "importlib.metadata",
    "jupyter_server", "json", "logging", "msgspec", "nbformat", "packaging", "rich", "shutil", "ssl", "stamina",
    "subprocess", "tempfile", "tomllib", "urllib.request", "websockets", "zmq",
)  # fmt: skip
RUNTIME = ("jupyter", "helper", "net", "sessions", "runs", "files", "notebooks", "history", "store", "models")
WITH_CLICK = {"click", "dataclasses", "json", "msgspec"}


def here(line: str, folder: Path) -> set[str]:
    """What a command line imports on a machine where nothing was done yet."""
    return imported(line.split(), {"LECODER_CGPU_CONFIG_DIR": str(folder), "LECODER_CGPU_BACKEND": "local", "PATH": ""})


@pytest.mark.parametrize(
    ("line", "most"),
    [
        ("--version", 90),
        ("--help", 110),
        ("run --help", 110),
        ("job list -h", 110),
        ("notebook run --help", 110),
        ("auth login --help", 110),
    ],
)
def test_a_page_of_help_imports_no_command(line: str, most: int, tmp_path: Path) -> None:
    """It is kept as data: neither click, nor the command, nor anything of the runtime is needed to show it."""
    found = here(line, tmp_path)
    assert found & set(HEAVY) <= ({"json"} if most > 100 else set())
    assert [name for name in found if name.startswith("lecoder_cgpu.cli.commands")] == []
    assert [name for name in found if name.startswith(tuple(f"lecoder_cgpu.{room}" for room in RUNTIME))] == []
    assert len(found) <= most


@pytest.mark.parametrize(
    ("line", "more", "most"),
    [
        ("", {"hashlib"}, 275),
        ("config show", {"hashlib", "shutil"}, 270),
        ("logs", {"hashlib", "logging"}, 290),
        ("job list", {"hashlib", "subprocess", "shutil", "tempfile", "logging"}, 385),
        ("status", {"hashlib", "logging"}, 290),
    ],
)
def test_a_command_without_a_runtime(line: str, more: set[str], most: int, tmp_path: Path) -> None:
    """What it needs beyond click and the documents is named here."""
    found = here(line, tmp_path)
    assert found & set(HEAVY) <= WITH_CLICK | more
    assert len(found) <= most
