"""`ssh`, `ssh --proxy` and `ssh-config`: the system's OpenSSH against a real sshd behind a WebSocket."""

from __future__ import annotations

import hashlib
import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lecoder_cgpu.testing.colab import FakeColab
from tests.contract.test_documents import failed, validate
from tests.support.cli import Cli
from tests.support.ssh_server import SshServer, needs_sshd, start_ssh_server

pytestmark = needs_sshd


@pytest.fixture(scope="module")
def vm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cli, SshServer]]:
    """The command line with a session on a machine with SSH."""
    folder = tmp_path_factory.mktemp("vm")
    with start_ssh_server(folder / "server") as server:
        command = Cli(folder)
        command("sessions", "add", "vm", "--url", server.url, "--token-stdin", stdin=b"secret")
        yield command, server


def test_a_command(vm: tuple[Cli, SshServer]) -> None:
    """The remote command's output, input and status pass through, with a key that nobody has to make."""
    cli, _ = vm
    result = cli("ssh", "vm", "echo hi; cat; exit 3", stdin=b"from here")
    assert (result.code, result.out) == (3, "hi\nfrom here"), result
    document = cli("ssh", "--json", "vm", "echo hi; exit 3").json
    validate(document, "connect")
    assert (document["mode"], document["remoteExitCode"], document["status"]) == ("ssh", 3, "error")
    assert cli("ssh", "vm", "echo", "--json").out == "--json\n"


def test_a_configuration(vm: tuple[Cli, SshServer], tmp_path: Path) -> None:
    """What ssh-config prints is all that ssh and scp need, without our environment; the key is for nobody else."""
    cli, _ = vm
    document = cli("ssh-config", "vm", "--json").json
    validate(document, "ssh-config")
    assert stat.S_IMODE(os.stat(document["identityFile"]).st_mode) == 0o600
    printed = cli("ssh-config", "vm").out
    (tmp_path / "config").write_text(printed)
    content = hashlib.shake_128(b"file").digest(5_000_000)
    (tmp_path / "file").write_bytes(content)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    target = f"lecoder-vm:{tmp_path}/copy"
    copied = subprocess.run(
        ["scp", "-F", tmp_path / "config", tmp_path / "file", target], env=environment, timeout=120, capture_output=True
    )
    assert copied.returncode == 0, copied
    assert (tmp_path / "copy").read_bytes() == content


def test_the_proxy_ends(vm: tuple[Cli, SshServer]) -> None:
    """At the end of its input the proxy ends; nothing but SSH's bytes is on stdout, and the machine is free again."""
    cli, server = vm
    key = server.folder / "some.pub"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", server.folder / "some"], check=True)
    result = cli("ssh", "--proxy", "--public-key", str(key), "vm", stdin=b"SSH-2.0-test\r\n")
    assert (result.code, result.err) == (0, "")
    assert cli("ssh", "vm", "true").code == 0


@pytest.mark.parametrize(
    ("status", "exit_status", "said"),
    [
        (401, 77, "refused the token"),
        (403, 77, "refused the token"),
        (404, 66, "offers no SSH"),
        (502, 74, "cannot be reached"),
    ],
)
def test_refusals(vm: tuple[Cli, SshServer], status: int, exit_status: int, said: str) -> None:
    """Each status of a refused handshake is told as what it means, on stderr alone."""
    cli, server = vm
    key = server.folder / "refused.pub"
    key.write_text("ssh-ed25519 AAAA")
    server.mode(status)
    try:
        result = cli("ssh", "--proxy", "--public-key", str(key), "vm")
    finally:
        server.mode(None)
    assert (result.code, result.out) == (exit_status, "")
    assert said in result.err
    assert "hint: " in result.err


def test_a_document_says_why_there_is_no_connection(vm: tuple[Cli, SshServer]) -> None:
    """OpenSSH's own status says nothing; the machine's refusal does. A command that ends with it is none."""
    cli, server = vm
    server.mode(404)
    try:
        result = cli("ssh", "--json", "vm", "true")
    finally:
        server.mode(None)
    assert (result.code, result.json["error"]["name"]) == (66, "NoSsh"), result
    result = cli("ssh", "--json", "vm", "exit 255")
    assert (result.code, result.json["error"]["name"]) == (255, "SshFailed"), result


def test_keys_that_are_refused(vm: tuple[Cli, SshServer]) -> None:
    """The server's reason is in the message."""
    cli, server = vm
    key = server.folder / "rsa.pub"
    key.write_text("ssh-rsa AAAA")
    result = cli("ssh", "--proxy", "--public-key", str(key), "vm")
    assert result.code == 2
    assert "unsupported key type" in result.err


def test_usage(vm: tuple[Cli, SshServer]) -> None:
    """What makes no sense is refused before anything is sent."""
    cli, _ = vm
    assert failed(cli("ssh", "--json", "--proxy", "vm"))["errorCode"] == 2006
    assert failed(cli("ssh", "--json", "--public-key", "x", "vm"))["errorCode"] == 2006
    assert failed(cli("ssh", "--json", "nothing"))["errorCode"] == 2005
    assert failed(cli("ssh-config", "--json", "nothing"))["errorCode"] == 2005


def test_the_place_is_taken(vm: tuple[Cli, SshServer]) -> None:
    """A machine takes one connection; while the last one has not been noticed to be over, a new one waits."""
    cli, _ = vm
    first = cli.start("ssh", "vm", "echo up; sleep 1000")
    assert first.stdout is not None
    assert first.stdout.readline() == b"up\n"
    second = cli.start("ssh", "vm", "echo second")
    time.sleep(1)
    first.terminate()
    first.communicate(timeout=60)
    out, err = second.communicate(timeout=60)
    assert (second.returncode, out) == (0, b"second\n"), err


def test_a_runtime_of_its_own(colab: FakeColab, colab_cli: Cli) -> None:
    """It is given back when the remote command has ended, with its status, and when somebody ends ssh."""
    colab.account.upgrade("PRO")
    ran = colab_cli("ssh", "--rm", "--cpu", "echo there; exit 3")
    assert (ran.code, ran.out, colab.vms) == (3, "there\n", {})
    client = colab_cli.start("ssh", "--rm", "--cpu", "echo begun; sleep 300")
    assert client.stdout is not None
    assert client.stdout.readline() == b"begun\n"
    client.send_signal(signal.SIGTERM)
    client.communicate(timeout=60)
    assert (client.returncode, colab.vms) == (143, {})
