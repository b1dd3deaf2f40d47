"""`connect` in a real terminal: what is typed reaches the shell, and the terminal is whole again afterwards."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from tests.contract.test_documents import validate
from tests.support.cli import Cli
from tests.support.proxy import Proxy
from tests.support.pty import Pty
from tests.support.servers import JupyterServer
from tests.support.tmux import in_tmux, needs_tmux
from tests.support.tty_server import start_tty_server

LIMIT = 60.0


@needs_tmux
def test_a_shell(lab: Cli) -> None:
    """Typing, colours, UTF-8, a new size, Ctrl-C, and the shell's own exit status."""
    with in_tmux(lab, "connect", "--startup-command", "PS1='ready> '") as terminal:
        terminal.wait("ready> ")
        terminal.line("echo $((40+2)) $(tput colors) übung")
        terminal.wait("42 256 übung")
        terminal.line("stty size")
        terminal.wait("30 100")
        terminal.resize(72, 20)
        terminal.line("sleep 0.5; stty size")
        terminal.wait("20 72")
        terminal.line("echo begun; sleep 1000; echo not reached")
        terminal.wait("\nbegun")
        terminal.key("C-c")
        terminal.line("echo interrupted: $?")
        terminal.wait("interrupted: 130")
        terminal.line("exit 7")
        screen = terminal.wait("[status 7]")
    assert "\nnot reached" not in screen
    assert "7717" not in screen


@needs_tmux
def test_ctrl_d(lab: Cli) -> None:
    """Ctrl-D ends the shell, and with it the command."""
    with in_tmux(lab, "connect", "--startup-command", "PS1='ready> '") as terminal:
        terminal.wait("ready> ")
        time.sleep(0.2)
        terminal.key("C-d")
        terminal.wait("[status 0]")


@needs_tmux
def test_leaving_and_going_back(lab: Cli) -> None:
    """The detach key leaves the shell running, and --attach finds it with its screen and its variables."""
    with in_tmux(lab, "connect", "--startup-command", "kept=here; echo begun") as terminal:
        terminal.wait("\nbegun")
        terminal.key("C-]")
        screen = terminal.wait("[status 0]")
    found = re.search(r"--attach (\w+)", screen)
    assert found, screen
    with in_tmux(lab, "connect", "--attach", found[1], "--detach-key", "none") as terminal:
        terminal.wait("\nbegun")
        terminal.key("C-]")  # of no meaning now
        terminal.key("C-c")
        terminal.wait("^C")  # bash forgets what is typed while it handles the interruption
        terminal.line("echo still $kept")
        terminal.wait("\nstill here")
        terminal.line("exit")
        terminal.wait("[status 0]")
    refused = lab("connect", "--attach", "surely-not", "--json")
    assert refused.code == 2


@pytest.fixture
def cuttable(jupyter: JupyterServer, cli: Cli) -> Iterator[tuple[Cli, Proxy]]:
    """The command line with a session that reaches a stock server through a proxy."""
    proxy = Proxy(jupyter.url)
    cli("sessions", "add", "far", "--url", proxy.url, "--token-stdin", stdin=jupyter.token.encode())
    yield cli, proxy
    proxy.close()


@needs_tmux
def test_a_dropped_connection(cuttable: tuple[Cli, Proxy]) -> None:
    """The shell goes on meanwhile; afterwards its output is there once, in order, and keys arrive."""
    cli, proxy = cuttable
    with in_tmux(cli, "connect", "--startup-command", "PS1='ready> '") as terminal:
        terminal.wait("ready> ")
        terminal.line("for i in $(seq 1001 1150); do echo n$i; sleep 0.02; done")
        for number in (1020, 1060, 1100):
            terminal.wait(f"n{number}")
            proxy.cut()
        terminal.wait("n1150")
        terminal.line("echo $((6*7)) times")
        screen = terminal.wait("42 times")
        terminal.line("exit 3")
        terminal.wait("[status 3]")
    assert re.findall(r"^n(\d+)$", screen, re.MULTILINE) == [str(number) for number in range(1001, 1151)]


@needs_tmux
def test_the_terminal_of_colab(cli: Cli) -> None:
    """Where there is only `/colab/tty`: JSON frames, one shell for all, redrawn after a drop; its end is ours."""
    with start_tty_server() as server:
        proxy = Proxy(server)
        cli("sessions", "add", "vm", "--url", proxy.url, "--token-stdin", stdin=b"secret")
        with in_tmux(cli, "connect", "--startup-command", "PS1='ready> '") as terminal:
            terminal.wait("ready> ")
            terminal.line("stty size; echo übung")
            terminal.wait("\nübung")
            assert "30 100" in terminal.screen()
            requests = len(proxy.requests)
            proxy.cut()
            while len(proxy.requests) == requests:  # what is typed into a socket that breaks may be lost with it
                time.sleep(0.05)
            terminal.line("echo $((6*7)) times")
            terminal.wait("\n42 times")
            terminal.line("exit")
            terminal.wait("[status 0]")
        proxy.close()


@needs_tmux
def test_a_server_without_terminals(cli: Cli) -> None:
    """The error names the command that works all the same."""
    with start_tty_server(tty=False) as server:
        cli("sessions", "add", "vm", "--url", server, "--token-stdin", stdin=b"secret")
        with in_tmux(cli, "connect") as terminal:
            screen = terminal.wait("[status 66]")
    assert "hint: lecoder-cgpu connect -m kernel" in screen


# --- without tmux: the terminal is a pseudo-terminal of the test's own ------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_the_terminal_is_restored(lab: Cli, pty_of: Callable[..., Pty], number: int) -> None:
    """Whoever kills the command finds the settings as before, and the remote program's modes undone."""
    run = pty_of(lab, "connect", "--startup-command", r"printf '\033[?1049h\033[?25l\033[?1000h%s' ma''rk")
    run.wait(lambda: b"mark" in run.seen)
    assert run.modes() != run.before
    run.process.send_signal(number)
    assert run.end() == 128 + number
    assert run.modes() == run.before
    for switched_off in (b"\x1b[?1049l", b"\x1b[?1000l", b"\x1b[?25h"):
        assert switched_off in run.seen


def test_the_terminal_is_restored_when_the_screen_is_gone(lab: Cli, pty_of: Callable[..., Pty]) -> None:
    """An error in the middle (nobody reads our output any more) leaves no raw terminal either."""
    reader = subprocess.Popen(["head", "-c", "1"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    run = pty_of(lab, "connect", stdout=reader.stdin, stderr=subprocess.PIPE)
    assert reader.stdin is not None
    reader.stdin.close()
    reader.wait(LIMIT)
    run.wait(lambda: run.modes() != run.before or run.process.poll() is not None)
    run.type(b"echo more\r")
    assert run.end() != 0
    assert run.modes() == run.before


def test_json_shows_the_shell_on_stderr(lab: Cli, pty_of: Callable[..., Pty]) -> None:
    """With --json the screen is stderr, and stdout is one document that tells how it ended."""
    run = pty_of(lab, "connect", "--json", stdout=subprocess.PIPE)
    assert run.process.stdout is not None
    run.wait(lambda: run.modes() != run.before)
    run.type(b"echo $((6*7)); exit 5\r")
    assert run.end() == 5
    document = json.loads(run.process.stdout.read())
    validate(document, "connect")
    assert (document["remoteExitCode"], document["exitCode"], document["mode"]) == (5, 5, "terminal")
    assert b"42" in run.seen


# --- no terminal -----------------------------------------------------------------------------------------------------


def test_commands_from_a_pipe(lab: Cli) -> None:
    """Lines from a pipe are run without echo or prompt, with streams apart and the true status; then it ends."""
    result = lab("connect", "--startup-command", "export A=1", stdin=b"echo out $A\necho err >&2\nexit 9\n")
    assert (result.code, result.out, result.err) == (9, "out 1\n", "err\n")
    assert lab("connect", stdin=b"").code == 0
    document = lab("connect", "--json", stdin=b"echo hi").json
    assert (document["mode"], document["stdout"]) == ("terminal", "hi\n")


def test_python_from_a_pipe(lab: Cli) -> None:
    """In kernel mode all of stdin is one cell."""
    result = lab("connect", "-m", "kernel", "--startup-code", "a = 6", stdin=b"for i in range(2):\n    print(a * i)\n")
    assert (result.code, result.out) == (0, "0\n6\n")
    assert lab("connect", "-m", "kernel", "--json", stdin=b"1/0").json["error"]["name"] == "ZeroDivisionError"
