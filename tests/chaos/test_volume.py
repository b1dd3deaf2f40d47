"""Much output over connections that break in the middle of it: complete, byte for byte, in a real server's limits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from lecoder_cgpu.jupyter import execution_end, messages
from lecoder_cgpu.jupyter.outputs import OutputOptions
from tests.support.faults import Fault
from tests.support.rig import HANG, Rig, impatient, rig, within
from tests.support.servers import JupyterServer

MB = 1_000_000


@pytest.fixture(scope="module")
def wide(jupyter: JupyterServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A warm session on a stock server, behind the proxy."""
    folder = tmp_path_factory.mktemp("volume")
    with rig(jupyter, folder, folder.name) as made, impatient():
        yield made


def test_one_large_message(wide: Rig) -> None:
    """30 MB in one message that no rate limit stops, cut in the middle."""
    code = "from IPython.display import display\ndisplay({'text/plain': 'x' * 30_000_000}, raw=True)"
    shown: list[int] = []

    def show(event: messages.Event) -> None:
        if isinstance(event, messages.Display):
            shown.append(len(event.data["text/plain"]))

    wide.proxy.expect([Fault("cut", "down", 10 * MB), Fault("reset", "down", 5 * MB)])
    document = within(HANG, lambda: wide.kernel_run(code, show))
    assert (document.status, document.output_complete) == ("ok", True), document.error
    assert shown == [30 * MB]
    assert len(wide.proxy.happened) == 2


def test_a_hundred_megabytes_of_a_kernel(wide: Rig) -> None:
    """Read from the recording, over connections that are cut every 15 MB."""
    line = "y" * 999
    code = f"for i in range(1000): print(({line!r} + '\\n') * 99 + f'{{i:0999d}}')"
    digest, size = hashlib.sha256(), 0

    def show(event: messages.Event) -> None:
        nonlocal size
        if isinstance(event, messages.Stream):
            digest.update(event.text.encode())
            size += len(event.text)

    wide.proxy.expect([Fault("cut", "down", 15 * MB)] * 5)
    document = within(HANG, lambda: wide.kernel_run(code, show, output=OutputOptions(max_output=1000)))
    assert (document.status, document.output_complete, size) == ("ok", True, 100 * MB), document
    expected = hashlib.sha256()
    for number in range(1000):
        expected.update(((line + "\n") * 99 + f"{number:0999d}\n").encode())
    assert digest.digest() == expected.digest()
    assert len(wide.proxy.happened) == 5


def test_a_recording_that_is_long_in_coming(wide: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that was read is read again or thrown away when the connection breaks: what comes in pieces, each in more
    time than a silent recording is given, comes whole."""
    monkeypatch.setattr(execution_end, "PULL_PATIENCE", 0.5)
    monkeypatch.setattr(execution_end, "QUESTIONS", 60)  # the machine may be busy
    size = 0

    def show(event: messages.Event) -> None:
        nonlocal size
        if isinstance(event, messages.Stream):
            size += len(event.text)

    piece = [Fault("delay", "down", 5 * MB, seconds=0.6), Fault("cut", "down", 5 * MB)]
    wide.proxy.expect(piece * 5)
    code = f"for i in range(600): print(({'y' * 999!r} + '\\n') * 100, end='', flush=True)"
    document = within(HANG, lambda: wide.kernel_run(code, show, output=OutputOptions(max_output=1000)))
    assert (document.status, document.output_complete, size) == ("ok", True, 60 * MB), document
    assert len(wide.proxy.happened) == 10


def test_a_hundred_megabytes_of_a_process(wide: Rig) -> None:
    """The same for a process."""
    digest, size = hashlib.sha256(), 0

    def show(stream: str, data: bytes) -> None:
        nonlocal size
        digest.update(data)
        size += len(data)

    wide.proxy.expect([Fault("cut", "down", 15 * MB)] * 5)
    document = within(
        HANG,
        lambda: wide.process_run(
            "yes 0123456789abcde | head -c 100000000; exit 3", show, output=OutputOptions(max_output=1000)
        ),
    )
    assert (document.exit_code, document.output_complete, size) == (3, True, 100 * MB), document
    assert digest.digest() == hashlib.sha256(b"0123456789abcde\n" * (100 * MB // 16)).digest()
    assert len(wide.proxy.happened) == 5
