"""Connections that die without a word, runtimes that move, and two machines on one session."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from lecoder_cgpu import errors
from lecoder_cgpu.jupyter import messages
from lecoder_cgpu.models.runs import Run
from lecoder_cgpu.runs.kernel_runs import attached_kernel_run
from lecoder_cgpu.runs.process_runs import attached_run
from tests.support.rig import HANG, Rig, impatient, rig, within
from tests.support.servers import JupyterServer

ALL = "".join(f"{number}\n" for number in range(20))
CODE = "import time\nfor i in range(20):\n    print(i, flush=True)\n    time.sleep(0.1)"
SHELL = "for i in $(seq 0 19); do echo $i; sleep 0.1; done; exit 6"


@pytest.fixture(scope="module")
def held(jupyter: JupyterServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A warm session on a stock server, behind the proxy."""
    folder = tmp_path_factory.mktemp("silence")
    with rig(jupyter, folder, folder.name) as made, impatient():
        yield made


@pytest.mark.parametrize("mode", ["kernel", "process"])
def test_a_connection_that_falls_silent(held: Rig, mode: str) -> None:
    """Nothing is closed and nothing comes any more: pings notice it, and the run is complete."""
    pieces: list[str] = []

    def take(text: str) -> None:
        pieces.append(text)
        if len(pieces) == 3:
            held.proxy.swallow(0.2)

    document = run(held, mode, take)
    assert "".join(pieces) == ALL
    assert (document.output_complete, document.exit_code) == (True, 0 if mode == "kernel" else 6), document


def test_a_connection_that_takes_nothing(held: Rig, tmp_path: Path) -> None:
    """A peer that stops reading in the middle of a large request does not hold us for ever."""
    counter = tmp_path / "counter"
    with held.session() as session:
        connection = session.connect_kernel()
        held.proxy.stall()
        code = f"open({str(counter)!r}, 'a').write('x')\n'" + "x" * 9_000_000 + "'"
        with pytest.raises(errors.ConnectionFailed) as failure:
            within(HANG, lambda: connection.execute(code, lambda event: None))
        connection.close()
    assert failure.value.retryable
    assert not counter.exists()


def test_a_helper_that_was_out_of_reach(held: Rig) -> None:
    """Where a kernel could not be recorded from its start, the next run sees to it."""
    with held.session() as session:
        assert session.record.kernel is not None
        kernel = structs.replace(session.record.kernel, recorded=None)
        session.store.change(session.record.id, lambda record: setattr(record, "kernel", kernel))
    document = within(HANG, lambda: held.kernel_run("print('x' * 3_000_000)", lambda event: None))
    assert (len(document.stdout), document.output_complete) == (3_000_001, True)
    with held.session() as session:
        assert session.record.kernel is not None
        assert session.record.kernel.recorded is True


def run(held: Rig, mode: str, take: object) -> Run:
    """The run of that mode, whose stdout goes to `take` in pieces."""
    assert callable(take)

    def show(event: messages.Event) -> None:
        if isinstance(event, messages.Stream):
            take(event.text)

    if mode == "kernel":
        return within(HANG, lambda: held.kernel_run(CODE, show))
    return within(HANG, lambda: held.process_run(SHELL, lambda stream, data: take(data.decode())))


@pytest.mark.parametrize("mode", ["kernel", "process"])
def test_two_machines(jupyter: JupyterServer, tmp_path: Path, mode: str) -> None:
    """Both find the same kernel and helper, run at the same time, and read each other's runs."""
    with rig(jupyter, tmp_path / "a", tmp_path.name) as first, rig(jupyter, tmp_path / "b", tmp_path.name) as second:
        kernels = [machine.client.store.records()[0].kernel for machine in (first, second)]
        assert kernels[0] is not None
        assert kernels[1] is not None
        assert kernels[0].id == kernels[1].id
        documents: dict[str, Run] = {}

        def work(machine: Rig, name: str) -> None:
            documents[name] = run(machine, mode, lambda text: None)

        threads = [threading.Thread(target=work, args=pair) for pair in ((first, "first"), (second, "second"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for name, other in (("first", second), ("second", first)):
            assert (documents[name].stdout, documents[name].output_complete) == (ALL, True), documents
            identity = str(documents[name].run_id)
            with other.session() as session:
                again = (
                    attached_kernel_run(session, identity, lambda event: None)
                    if mode == "kernel"
                    else attached_run(session, identity, lambda stream, data: None)
                )
            assert (again.stdout, again.exit_code) == (ALL, documents[name].exit_code)
