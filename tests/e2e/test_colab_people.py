"""Shells and ports of Colab runtimes, against the fake: its terminal, and what its terms say of free accounts."""

from __future__ import annotations

import hashlib

from lecoder_cgpu.testing.colab import FakeColab
from tests.contract.test_documents import failed
from tests.support.cli import Cli
from tests.support.forwarding import Hasher, exchange, forwarded
from tests.support.tmux import in_tmux, needs_tmux


@needs_tmux
def test_a_shell_on_a_new_runtime(colab_cli: Cli) -> None:
    """connect allocates what it was asked for, types into the shared terminal, and ends with it."""
    with in_tmux(colab_cli, "connect", "--gpu", "T4") as terminal:
        terminal.wait("leaves the shell running")
        terminal.wait("# ")
        terminal.line("echo $((6*7)) times")
        terminal.wait("42 times")
        terminal.line("exit")
        terminal.wait("[status 0]")
    assert colab_cli("sessions", "list", "--json").json[0]["runtime"]["accelerator"] == "T4"
    colab_cli("sessions", "close", "--all")


def test_free_accounts_are_told(colab_cli: Cli, colab: FakeColab) -> None:
    """On a free account without units, ports and SSH need a word that the terms are known; with units they do not."""
    assert colab_cli("run", "echo hi").code == 0
    server = Hasher(100_000)
    for line in (["forward", "8000"], ["ssh"], ["ssh-config"]):
        document = failed(colab_cli(*line, "--json"))
        assert (document["errorCode"], document["error"]["name"]) == (2006, "FreeTier")
        assert document["error"]["suggestion"].endswith(" --i-understand-free-tier")
    with forwarded(colab_cli, f"{server.port}:0", "--i-understand-free-tier") as running:
        assert exchange(running.ports[0], b"sent") == server.blob + hashlib.sha256(b"sent").digest()
    colab.account.balance = 50.0
    assert colab_cli("ssh", "--json", "colab", "true").code == 0
    server.close()
    colab_cli("sessions", "close", "--all")
