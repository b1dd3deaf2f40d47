"""A terminal across dropped connections: every byte is shown once, and what was typed meanwhile arrives."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.sync.server import ServerConnection, serve

from lecoder_cgpu import errors
from lecoder_cgpu.jupyter.endpoint import Endpoint
from lecoder_cgpu.jupyter.server import Server
from lecoder_cgpu.jupyter.terminal import OVERLAP, Terminal, overlap
from tests.support.wait import wait_until

TEXT = "".join(f"line {number} of the output\r\n" for number in range(40))


def by_trying(shown: str, replay: str) -> int:
    """The same by the definition."""
    fitting = [size for size in range(OVERLAP, len(replay) + 1) if shown.endswith(replay[:size])]
    return max(fitting, default=0)


SOME = st.text("ab", max_size=60)


@given(SOME, SOME, SOME)
def test_what_a_replay_repeats(before: str, common: str, after: str) -> None:
    """The longest end of what was shown with which the replay begins, as the definition says."""
    shown, replay = before + common, common + after
    found = overlap(shown, replay)
    assert (found if found >= OVERLAP else 0) == by_trying(shown, replay)


def test_long_outputs_are_compared_fast() -> None:
    """Output of the same character over and over is the worst case, and no reason to stand still."""
    begun = time.monotonic()
    assert overlap("a" * 500_000 + "b", "a" * 60_000) == 0
    assert overlap("x" * 500_000, "y" * 500_000) == 0
    assert time.monotonic() - begun < 10


class Shell:
    """A server of one terminal, named 1: `show` goes to the client, `typed` has what came from it."""

    def __init__(self) -> None:
        self.replay = ""
        self.typed: queue.Queue[str] = queue.Queue()
        self.sockets: list[ServerConnection] = []
        self.gone = False

    def serve(self, connection: ServerConnection) -> None:
        connection.send(json.dumps(["setup", {}]))
        if self.replay:
            connection.send(json.dumps(["stdout", self.replay]))
        self.sockets.append(connection)
        for frame in connection:
            self.typed.put(str(frame))

    def show(self, text: str) -> None:
        self.replay += text
        self.sockets[-1].send(json.dumps(["stdout", text]))

    def drop(self) -> None:
        self.sockets[-1].socket.shutdown(2)


@pytest.fixture
def shell() -> Iterator[tuple[Shell, Terminal]]:
    made = Shell()
    with serve(made.serve, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        endpoint = Endpoint(url=f"http://127.0.0.1:{server.socket.getsockname()[1]}/")
        terminal = Terminal(Server(endpoint), "xterm", attach="1")
        wait_until(lambda: bool(made.sockets))  # the client may be told of its connection before `serve` is
        yield made, terminal
        terminal.close()
        server.shutdown()
        thread.join()


def shown(terminal: Terminal, until: str) -> str:
    """What is shown up to `until`."""
    text = ""
    deadline = time.monotonic() + 20
    while until not in text:
        assert time.monotonic() < deadline, text
        text += terminal.receive(1) or ""
    return text


def dropped(terminal: Terminal) -> None:
    with pytest.raises(errors.ConnectionFailed):
        shown(terminal, "never")


def test_a_replay_is_not_shown_again(shell: tuple[Shell, Terminal]) -> None:
    """After a drop the server sends all it has: only what is new is shown. What was typed meanwhile arrives then."""
    server, terminal = shell
    assert shown(terminal, "") == ""
    server.show(TEXT)
    assert shown(terminal, "line 39 of the output\r\n") == TEXT
    server.drop()
    dropped(terminal)
    server.replay = server.replay[200:] + "and more\r\n"  # its memory is shorter than ours
    failures: list[str] = []
    terminal.reconnect(lambda: False, lambda: failures.append("failed"))
    terminal.send("typed\r")
    assert shown(terminal, "more\r\n") == "and more\r\n"
    assert json.loads(server.typed.get(timeout=20)) == ["stdin", "typed\r"]
    assert failures == []


def test_what_is_typed_without_a_connection_is_kept(shell: tuple[Shell, Terminal]) -> None:
    """It arrives in one piece, after our window's size."""
    server, terminal = shell
    terminal.resize(24, 80)
    assert json.loads(server.typed.get(timeout=20)) == ["set_size", 24, 80, 0, 0]
    server.drop()
    dropped(terminal)
    terminal.send("a")
    terminal.send("b")
    terminal.reconnect(lambda: False, lambda: None)
    came = [json.loads(server.typed.get(timeout=20)) for _ in range(3)]
    assert came == [["set_size", 23, 80, 0, 0], ["set_size", 24, 80, 0, 0], ["stdin", "ab"]]


def test_the_end_of_the_shell_tells_its_status(shell: tuple[Shell, Terminal]) -> None:
    """The escape sequence with the status is not shown."""
    server, terminal = shell
    server.show("bye\x1b]7717;exit=3\x07")
    server.sockets[-1].send(json.dumps(["disconnect", 1]))
    assert shown(terminal, "bye") == "bye"
    while not terminal.ended:
        terminal.receive(1)
    assert terminal.exit_status == 3


@pytest.mark.parametrize("frame", ["", "7", "null", "[]", '["stdout"]', '["stdout", 7]', '{"data": 7}', b"\xff"])
def test_odd_frames_are_passed_over(shell: tuple[Shell, Terminal], frame: str | bytes) -> None:
    """What is not output is not shown, and nothing fails."""
    server, terminal = shell
    shown(terminal, "")
    server.sockets[-1].send(frame)
    server.show("after")
    assert shown(terminal, "after") == "after"


def test_reconnecting_ends_when_the_user_gives_up(shell: tuple[Shell, Terminal]) -> None:
    """It returns, and tells the first failure once."""
    terminal = shell[1]
    terminal.close()
    terminal._server.endpoint = Endpoint(url="http://127.0.0.1:9/")
    told: list[str] = []
    terminal.reconnect(lambda: len(told) > 0, lambda: told.append("failed"))
    assert told == ["failed"]
