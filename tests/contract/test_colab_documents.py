"""The documents of commands that talk to Colab, against their schemas."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lecoder_cgpu.testing.colab import FakeColab
from tests.contract.test_documents import failed, validate
from tests.support.cli import Cli
from tests.support.colab import logged_in, without_kernels


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    """A command line that is logged in to a fake whose runtimes have no kernels."""
    with FakeColab(tmp_path / "colab") as colab:
        without_kernels(colab)
        colab.start_vm("T4")
        colab.account.max_vms = 2
        yield logged_in(Cli(tmp_path / "home"), colab)


def test_documents(cli: Cli) -> None:
    """Each command gives one valid document."""
    for schema, line in (
        ("usage", ["usage"]),
        ("gpus", ["gpus"]),
        ("status", ["status"]),
        ("sessions-add", ["sessions", "ensure", "a", "--cpu"]),
        ("sessions-add", ["sessions", "rename", "a", "b"]),
        ("colab-consent", ["colab", "consent", "drive"]),
        ("sessions-list", ["sessions", "list"]),
        ("sessions-switch", ["sessions", "switch", "b"]),
        ("sessions-clean", ["sessions", "clean"]),
        ("sessions-stats", ["sessions", "list", "--stats"]),
        ("notebook-stored", ["notebook", "create", "x"]),
        ("notebook-list", ["notebook", "list"]),
        ("auth-start", ["auth", "login", "--start"]),
        ("sessions-close", ["sessions", "close", "b"]),
    ):
        result = cli(*line, "--json")
        assert result.code == 0, (line, result)
        validate(result.json, schema)
        if schema in ("sessions-clean", "sessions-stats", "notebook-list"):
            whole = result.json if isinstance(result.json, dict) else result.json[0]
            assert whole["account"] == "ada@example.com"
        assert cli(*line[:2], "--help").code == 0
    assert failed(cli("colab", "consent", "drive", "--json"))["errorCode"] == 2005
    assert failed(cli("sessions", "adopt", "x", "--name", "y", "--json"))["errorCode"] == 2005
    assert failed(cli("sessions", "ensure", "-x", "--json"))["errorCode"] == 2006


def test_what_people_read(cli: Cli) -> None:
    """The same without --json: text on stdout, no document."""
    assert "spending" in cli("usage").out
    assert cli("gpus").out.splitlines()[0].startswith("T4\tGPU\tyes\t16 GB\t")
    status = cli("status").out
    assert "logged in as ada@example.com" in status
    assert "sessions adopt" in status
    assert "gpu-t4-s-fake1" in cli("sessions", "list").out
