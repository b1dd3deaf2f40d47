"""Connections that stay open between commands: what they save, and that nothing is lost, or runs twice, by them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu.testing.colab import FakeColab
from lecoder_cgpu.warm import control, messages
from tests.support.cli import Cli, Result
from tests.support.faults import Fault
from tests.support.proxy import Proxy
from tests.support.servers import JupyterServer
from tests.support.strangers import answer_to_stranger
from tests.support.wait import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="they are there on Linux only")


class Keeping:
    """A command line that keeps connections, in a folder of its own."""

    def __init__(self, cli: Cli, folder: Path) -> None:
        self.cli = cli
        cli.variables.update({"LECODER_CGPU_WARM": "always", "XDG_RUNTIME_DIR": str(folder)})

    def run(self, code: str, *options: str) -> Any:
        """The document of a run in the kernel."""
        return json.loads(self.cli("run", "-m", "kernel", code, "--json", *options).out)

    def said(self) -> tuple[int, int, int]:
        """The holder's number, how many connections are open, how many commands were served; zeros without a holder."""
        found = control.ask("counts", kept=True)
        if not found:
            return 0, 0, 0
        process, _, open_now, _, served = found[0].replace(",", "").split()
        return int(process), int(open_now), int(served)

    def wait_until_open(self) -> None:
        wait_until(lambda: self.said()[1] > 0, 60)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    yield tmp_path
    meeting = tmp_path / f"lecoder-cgpu-{os.geteuid()}"
    wait_until(lambda: not (control.ask("stop") + control.ask("stop", kept=True) or os.listdir(meeting)), 60)


@pytest.fixture
def far(jupyter: JupyterServer, folder: Path) -> Iterator[tuple[Keeping, Proxy]]:
    """A session behind a proxy, whose kernel's connection is kept."""
    proxy = Proxy(jupyter.url)
    cli = Cli(folder)
    cli("sessions", "add", folder.name, "--url", proxy.url, "--token-stdin", stdin=jupyter.token.encode())
    keeping = Keeping(cli, folder)
    assert keeping.run("x = 41")["status"] == "ok"
    keeping.wait_until_open()
    yield keeping, proxy
    proxy.expect([])
    cli("sessions", "close", "--all")
    proxy.close()


def test_a_run_asks_for_nothing_but_itself(far: tuple[Keeping, Proxy], tmp_path: Path) -> None:
    """No connection and no handshake: the request alone, with input, a large output, errors, and Ctrl-C as ever."""
    keeping, proxy = far
    proxy.requests.clear()
    assert keeping.run("print(x + 1)")["stdout"] == "42\n"
    assert keeping.run("1/0")["error"]["name"] == "ZeroDivisionError"
    asked = keeping.cli("run", "-m", "kernel", "--stdin", "print(input('?'))", stdin=b"an answer\n")
    assert "an answer" in asked.out
    assert proxy.requests == []
    large = keeping.cli("run", "-m", "kernel", "for i in range(40): print('y' * 1_000_000)")
    assert (large.code, len(large.out)) == (0, 40 * 1_000_001)
    client = keeping.cli.start("run", "-m", "kernel", "--events", "print('begun'); import time; time.sleep(99)")
    assert client.stdout
    begun = [json.loads(client.stdout.readline()) for _ in range(2)]
    assert any("begun" in str(event) for event in begun)
    client.send_signal(signal.SIGINT)
    out, _ = client.communicate(timeout=60)
    assert (client.returncode, json.loads(out.splitlines()[-1])["interrupted"]) == (130, True)
    assert keeping.run("print(x)", "--timeout", "60")["stdout"] == "41\n"
    assert keeping.said()[2] == 4


def test_a_connection_that_breaks_in_the_middle(far: tuple[Keeping, Proxy], tmp_path: Path) -> None:
    """Output is complete, and the code is executed once; so it is when the holder is killed."""
    keeping, proxy = far
    count = tmp_path / "count"
    count_it = f"open({str(count)!r}, 'a').write('once ')"
    code = f"{count_it}\nimport time\nfor i in range(20): print(i, 'z' * 5000); time.sleep(.1)"
    proxy.expect([Fault("cut", "down", 30_000)])
    document = keeping.run(code)
    assert (document["status"], document["outputComplete"]) == ("ok", True)
    assert document["stdout"].split()[::2] == [str(number) for number in range(20)]
    assert proxy.happened
    assert keeping.run("print(x)")["stdout"] == "41\n"  # by a connection of its own; this one leaves one
    keeping.wait_until_open()
    holder, _, served = keeping.said()
    process = keeping.cli.start("run", "-m", "kernel", code, "--json")
    wait_until(lambda: count.read_text() == "once once ", 60)
    assert keeping.said()[2] == served + 1
    os.kill(holder, signal.SIGKILL)
    document = json.loads(process.communicate(timeout=100)[0])
    assert (document["status"], document["outputComplete"]) == ("ok", True)
    assert document["stdout"].split()[::2] == [str(number) for number in range(20)]
    assert keeping.run("print(x)")["stdout"] == "41\n"  # and the next one finds no holder
    keeping.wait_until_open()
    proxy.lose_next_frame = True
    lost = keeping.run(f"open({str(count)!r}, 'a').write('lost')")
    assert (lost["status"], lost["error"]["name"], lost["error"]["retryable"]) == ("error", "RequestLost", True)
    assert count.read_text() == "once once "


def test_who_is_stopped_lets_nothing_run_twice(far: tuple[Keeping, Proxy], tmp_path: Path) -> None:
    """A holder that is stopped with a request in it: the command gives up, and the request never arrives."""
    keeping, _ = far
    count = tmp_path / "count"
    holder = keeping.said()[0]
    os.kill(holder, signal.SIGSTOP)
    assert keeping.run(f"open({str(count)!r}, 'a').write('once')")["status"] == "ok"  # by a connection of its own
    os.kill(holder, signal.SIGCONT)
    code = f"""
import os, signal, sys
from lecoder_cgpu import errors
from lecoder_cgpu.config import Config
from lecoder_cgpu.sessions.manager import SessionManager
with SessionManager(Config()).session() as session:
    connection = session.connect_kernel()
    assert connection._is_kept
    os.kill({holder}, signal.SIGSTOP)
    connection.post("open({str(count)!r}, 'a').write(' twice')")
    connection.reconnect()
    connection.close()
    print("reconnected")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=keeping.cli.environment(), capture_output=True, text=True, timeout=100
    )
    assert done.stdout == "reconnected\n", done.stderr
    assert not is_alive(holder)
    assert keeping.run("print(x)")["stdout"] == "41\n"
    assert count.read_text() == "once"


def is_alive(process: int) -> bool:
    path = Path(f"/proc/{process}/stat")
    return path.exists() and path.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_kernel_that_is_another_one(far: tuple[Keeping, Proxy], jupyter: JupyterServer) -> None:
    """Restarted by us or by others, or ended by others, between two runs."""
    import httpx2

    keeping, _ = far
    assert keeping.cli("kernel", "restart").code == 0
    assert keeping.run("print('x' in globals())")["stdout"] == "False\n"
    keeping.wait_until_open()
    kernel = json.loads(keeping.cli("kernel", "status", "--json").out)["kernel"]["id"]
    address = f"{jupyter.url}api/kernels/{kernel}"
    headers = {"Authorization": f"token {jupyter.token}"}
    httpx2.post(f"{address}/restart", headers=headers, timeout=60).raise_for_status()
    document = keeping.run("for i in range(50): print(i)")
    assert (document["outputComplete"], document["stdout"].split()) == (True, [str(number) for number in range(50)])
    keeping.wait_until_open()
    httpx2.delete(address, headers=headers, timeout=60).raise_for_status()
    assert keeping.run("print(2)")["stdout"] == "2\n"


def test_two_commands_at_the_same_time(far: tuple[Keeping, Proxy]) -> None:
    """One has the connection for itself, the other opens its own."""
    keeping, _ = far
    results: list[Result] = []

    def one(number: int) -> None:
        code = f"import time; time.sleep(.3); print({number}, 'w' * 100_000)"
        results.append(keeping.cli("run", "-m", "kernel", code, "--json"))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result.json["stdout"].split()[0] for result in results) == ["0", "1", "2", "3"]
    assert all(result.json["outputComplete"] for result in results)


def test_what_is_kept_ends(far: tuple[Keeping, Proxy], tmp_path: Path) -> None:
    """With what floods it, with `keeper stop`, and never later than its user asked for; strangers are not served."""
    keeping, _ = far
    holder = keeping.said()[0]
    meeting = tmp_path / f"lecoder-cgpu-{os.geteuid()}"
    (name,) = [item for item in os.listdir(meeting) if item.endswith(messages.KEPT)]
    assert (meeting / name).stat().st_mode & 0o077 == 0
    if os.geteuid() == 0:
        assert answer_to_stranger(meeting, name, b"counts") == b""
    assert "kept connections" in keeping.cli("doctor").out
    keeping.run("import threading, time\nthreading.Timer(1, lambda: [print('v' * 400_000) for _ in range(3)]).start()")
    wait_until(lambda: keeping.said()[1] == 0, 60)
    assert keeping.run("print(1)")["stdout"] == "1\n"
    keeping.wait_until_open()
    keeping.cli("keeper", "stop")
    wait_until(lambda: not is_alive(holder), 20)
    assert keeping.run("print(3)", "--json")["stdout"] == "3\n"


def test_nobody_comes(jupyter: JupyterServer, folder: Path) -> None:
    """A connection, and then the process, ends by itself."""
    code = """
import os, sys
from lecoder_cgpu.net import kept_line, kept_sockets, socket_holder
kept_line.IDLE = socket_holder.ALONE = 0.5
address = kept_sockets.Address(sys.argv[1], {}, (), None)
reader, writer = os.pipe()
os.write(writer, address.line("open"))
os.close(writer)
os.dup2(reader, 0)
socket_holder.serve()
"""
    began = time.monotonic()
    address = f"ws{jupyter.url[4:]}api/events/subscribe"
    subprocess.run([sys.executable, "-c", code, address], check=True, timeout=60, env={**os.environ})
    assert time.monotonic() - began > 0.5


def test_colab_renews_its_token_and_moves(colab: FakeColab, colab_cli: Cli, folder: Path) -> None:
    """What was kept with an old token is closed by the proxy; the next command renews, and another is kept."""
    keeping = Keeping(colab_cli, folder)
    assert keeping.run("x = 41")["status"] == "ok"
    keeping.wait_until_open()
    assert keeping.run("print(x)")["stdout"] == "41\n"
    served = keeping.said()[2]
    assert served > 0
    for change in (colab.expire_proxy_tokens, colab.move):
        change()
        assert keeping.run("print(x)")["stdout"] == "41\n"
        keeping.wait_until_open()
        served = keeping.said()[2]
        assert keeping.run("print(x + 1)")["stdout"] == "42\n"
        assert keeping.said()[2] == served + 1
