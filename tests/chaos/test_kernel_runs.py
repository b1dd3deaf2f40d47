"""Kernel runs over a network that fails at random: every byte once, one execution, no hang, and no guess."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.jupyter import messages
from lecoder_cgpu.jupyter.outputs import OutputOptions
from lecoder_cgpu.models.base import ErrorInfo
from lecoder_cgpu.models.runs import Run
from tests.support import faults
from tests.support.rig import HANG, Rig, impatient, rig, within
from tests.support.servers import JupyterServer


@dataclass(frozen=True)
class Work:
    """Code of known output: `stdout`, and the name of the exception that ends it, if any."""

    code: str
    stdout: str
    raises: str | None = None


def work(seed: int) -> Work:
    """Something for a kernel to do, chosen by the seed; a second or less of it."""
    chance = random.Random(f"work {seed}")
    lines, width = chance.randint(5, 40), chance.choice([1, 500, 20_000])
    pause = round(chance.random() / lines, 3)
    slow = Work(
        f"import time\nfor i in range({lines}):\n    print(i, 'y' * (i % 7) * {width}, flush=True)\n"
        f"    time.sleep({pause})",
        "".join(f"{i} {'y' * (i % 7) * width}\n" for i in range(lines)),
    )
    count = chance.randint(500, 5_000)
    choices = [
        slow,
        slow,
        Work("print('x' * 3_000_000)\nprint('end')", "x" * 3_000_000 + "\nend\n"),
        Work(f"for i in range({count}): print(i, flush=True)", "".join(f"{i}\n" for i in range(count))),
        Work("import time\ntime.sleep(0.7)\nprint('late')", "late\n"),
        Work(slow.code + "\nraise KeyError('end')", slow.stdout, "KeyError"),
        Work("1/0", "", "ZeroDivisionError"),
        Work("x = 1", ""),
    ]
    return chance.choice(choices)


@pytest.fixture(scope="module")
def shaky(jupyter: JupyterServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A warm session on a stock server, behind the proxy."""
    folder = tmp_path_factory.mktemp("shaky-kernel")
    with rig(jupyter, folder, folder.name) as made, impatient():
        yield made


def test_a_run_over_a_failing_network(
    shaky: Rig, chaos_seed: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Complete and executed once; or not executed, and we are told so and that it may be repeated. Never unknown."""
    wanted = work(chaos_seed)
    counter = tmp_path / "counter"
    streamed: list[str] = []

    def show(event: messages.Event) -> None:
        if isinstance(event, messages.Stream) and event.name == "stdout":
            streamed.append(event.text)

    def run() -> Run:
        return shaky.kernel_run(
            f"open({str(counter)!r}, 'a').write('x')\n{wanted.code}", show, output=OutputOptions(raw=True)
        )

    shaky.proxy.expect(faults.plan(chaos_seed))
    try:
        document = within(HANG, run)
    except errors.ConnectionFailed as error:  # nothing was sent
        record_property("outcome", "not sent")
        assert not counter.exists()
        assert error.retryable  # noqa: PT017 - it need not be raised
        assert any(fault.kind != "delay" for fault in shaky.proxy.happened)
        return
    told = (document, shaky.proxy.happened)
    raised = document.error.name if isinstance(document.error, ErrorInfo) else None
    record_property("outcome", "lost" if raised == "RequestLost" else "complete")
    if raised == "RequestLost":
        assert isinstance(document.error, ErrorInfo)
        assert document.error.retryable, told
        assert not counter.exists(), told
        assert any(fault.kind != "delay" for fault in shaky.proxy.happened), told
        return
    assert (document.status, raised) == ("error" if wanted.raises else "ok", wanted.raises), told
    assert document.output_complete, told
    assert counter.read_text() == "x", told
    assert "".join(streamed) == wanted.stdout, told
    assert document.stdout == wanted.stdout, told
