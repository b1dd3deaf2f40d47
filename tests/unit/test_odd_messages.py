"""No message of a kernel can hurt: whatever is wrong with it, each of the four that read it goes on.

They are the watcher (client), the printer and the collectors (client), the recorder and the notebook driver (runtime).
`python -m tests.unit.test_odd_messages 100000` sends this many through each.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

import nbformat
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lecoder_cgpu.cli.live import KernelView
from lecoder_cgpu.cli.output import Printer
from lecoder_cgpu.guest import notebook_driver
from lecoder_cgpu.guest.recorder import Recorder
from lecoder_cgpu.helper import bootstrap
from lecoder_cgpu.helper.documents import Chunk, RunState
from lecoder_cgpu.jupyter import messages as wire
from lecoder_cgpu.jupyter import watch_events as ev
from lecoder_cgpu.jupyter.execution import Execution
from lecoder_cgpu.jupyter.outputs import Collector, OutputOptions
from lecoder_cgpu.jupyter.watch_state import Phase
from lecoder_cgpu.models.runs import Run
from lecoder_cgpu.notebooks.cell_outputs import CellOutputs, Displays
from lecoder_cgpu.runs.recording import RecordingReader
from tests.support.odd_messages import Parts, SocketKernel, message, odd_parts, text_frame, v1_frame
from tests.support.watch_course import RUN, Course

BATCH = 40  # messages of one example
RUN_ID = "run-0123456789abcdef"
CELL_ID = "job-0"

# What once hurt, kept for ever.
REGRESSIONS: list[list[tuple[str, bytes]]] = [
    [("stream", b'{"name":"stdout","text":"caf\xe9"}')],
    [("stream", b'{"name":"stdout","text":"\\ud800"}')],
    [("error", b'{"ename":"V","evalue":"\xe9","traceback":true}')],
    [("execute_reply", b'{"status":"error","evalue":"\xe9","payload":true}')],
    [("display_data", b'{"data":{"text/plain":5},"metadata":{}}')],
    [("display_data", b'{"data":"x","metadata":"y","transient":"z"}')],
    [("execute_result", b'{"data":{"a":' + b"[" * 3000 + b"]" * 3000 + b"}}")],
    [("stream", b'{\n  "name": "stdout",\n  "text": "pretty"\n}')],
    [("status", b'{"execution_state":["idle"]}')],
    [("stream", b"")],
    [("stream", b'{"name":["stdout"],"text":{}}')],
    [("execute_reply", b'{"status":"error","ename":"SystemExit","evalue":"' + b"1" * 5000 + b'"}')],
]


def regression(case: list[tuple[str, bytes]], run: str) -> list[Parts]:
    parent = {"msg_id": run, "msg_type": "execute_request"}
    return [[*message(kind, parent)[:3], content] for kind, content in case]


def batches(run: str) -> st.SearchStrategy[list[Parts]]:
    return st.lists(odd_parts(run), min_size=BATCH, max_size=BATCH)


Test = TypeVar("Test", bound=Callable[..., Any])


def with_regressions(run: str) -> Callable[[Test], Test]:
    """Tries what once hurt, besides what hypothesis finds."""

    def decorate(test: Test) -> Test:
        for case in REGRESSIONS:
            test = example(batch=regression(case, run))(test)
        return test

    return decorate


def decoded(batch: list[Parts]) -> list[wire.Message]:
    """What a client makes of them, in either form of a frame."""
    found = []
    for number, parts in enumerate(batch):
        channel = ("iopub", "shell", "iopub", "stdin")[number // 2 % 4]
        frame, protocol = (
            (v1_frame(channel, parts), wire.V1_SUBPROTOCOL) if number % 2 else (text_frame(channel, parts), None)
        )
        try:
            found.append(wire.decode(frame, protocol))
        except ValueError:
            continue
    return found


@with_regressions(RUN)
@settings(max_examples=20)
@given(batch=batches(RUN))
def test_the_watcher(batch: list[Parts]) -> None:
    """It follows the run to its end, with and without a recording."""
    watch(batch)


def watch(batch: list[Parts]) -> None:
    for recorded in (False, True):
        course = Course(recorded=recorded)
        for item in decoded(batch):
            if course.phase() is Phase.FOLLOWING:
                course.give(item)
        for _ in range(300):
            if course.phase() is Phase.OVER:
                break
            course.later(10)
            if course.phase() is not Phase.OVER:
                course.give(ev.KernelState("idle"), ev.RecordingUnreadable(_refused()))
        assert course.phase() is Phase.OVER


def _refused() -> Any:
    from lecoder_cgpu import errors

    return errors.NotFoundError("nothing was recorded")


@with_regressions(RUN)
@settings(max_examples=20)
@given(batch=batches(RUN))
def test_the_printer_and_the_collectors(batch: list[Parts]) -> None:
    """Documents, events, text and notebooks are made of whatever came, and all of them can be written."""
    show(batch)


def show(batch: list[Parts]) -> None:
    modes: tuple[Literal["json", "human", "events"], ...] = ("json", "human", "events")
    printers = {mode: Printer(mode) for mode in modes}
    sink = open(os.devnull, "wb")  # noqa: SIM115 - closed below
    for printer in printers.values():
        printer._out = sink
    execution = Execution(RUN)
    views = [KernelView(printer, raw=raw) for printer in printers.values() for raw in (False, True)]
    collector, cell = Collector(OutputOptions(max_output=100, inline=False)), CellOutputs(Displays())
    errors_stream, sys.stderr = sys.stderr, open(os.devnull, "w")  # noqa: SIM115
    try:
        for item in decoded(batch):
            event = execution.receive(item)
            if event is None or isinstance(event, wire.InputRequested):
                continue
            collector.add(event)
            cell.add(event)
            for view in views:
                view.show(event)
        for view in views:
            view.finish()
    finally:
        sys.stderr.close()
        sys.stderr = errors_stream
    document = Run(status="ok", error_code=0, exit_code=0, mode="kernel")
    collector.fill(document)
    printers["json"].document(document)
    sink.close()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")])
    cell.put(notebook.cells[0], 1)
    json.dumps(notebook).encode()


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[SocketKernel]:
    (tmp_path / "runs").mkdir()
    made = SocketKernel(tmp_path, "odd")
    yield made
    made.close()
    recorder = _recorders.pop(str(made.connection), None)
    if recorder is not None:
        recorder.join(20)
        assert not recorder.is_alive()


@with_regressions(RUN_ID)
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=batches(RUN_ID))
def test_the_recorder(batch: list[Parts], kernel: SocketKernel, tmp_path: Path) -> None:
    """It writes a run down to its end, and the client reads it to its end."""
    record(batch, kernel, tmp_path)


_recorders: dict[str, Recorder] = {}
_numbers = iter(range(1 << 40))


def record(batch: list[Parts], kernel: SocketKernel, folder: Path, name: str = "runs") -> None:
    recorder = _recorders.get(str(kernel.connection))
    if recorder is None:
        recorder = Recorder("odd", str(kernel.connection), str(folder / "runs"), lambda: None, lambda: None)
        _recorders[str(kernel.connection)] = recorder
        recorder.start()
        assert recorder.subscribed.wait(10)
    run = f"run-{next(_numbers):016x}"
    parent = {"msg_id": run, "msg_type": "execute_request"}
    ours = [[part.replace(RUN_ID.encode(), run.encode()) for part in parts] for parts in batch]
    idle = message("status", parent, execution_state="idle")
    begin = [message("status", parent, execution_state="busy"), message("execute_input", parent, code="1")]
    kernel.publish([*begin, *ours, idle])
    result = folder / name / run / "result.json"
    deadline = time.monotonic() + 20
    while not result.exists():
        assert time.monotonic() < deadline, "the recorder did not write the end"
        assert recorder.is_alive()
        time.sleep(0.002)
    reader = RecordingReader(_Folder(folder / name / run), run)  # type: ignore[arg-type]
    execution = Execution(run)
    for item in reader.pull():
        execution.receive(item)
    assert reader.ended


def test_a_recorder_that_fails_begins_again(tmp_path: Path, kernel: SocketKernel) -> None:
    """A fault of its own costs a part of one run, which the result tells, and not all runs of the kernel."""
    (tmp_path / "broken").mkdir()
    faults = [ValueError("x"), KeyError("y")]

    def active() -> None:
        if recorder.busy and faults and not recorder._probe:
            raise faults.pop()

    recorder = Recorder("odd", str(kernel.connection), str(tmp_path / "broken"), active, lambda: None)
    recorder.start()
    assert recorder.subscribed.wait(10)
    deadline = time.monotonic() + 20
    while faults:
        assert time.monotonic() < deadline
        parent = {"msg_id": "run-00000000000000ff", "msg_type": "execute_request"}
        kernel.publish([message("status", parent, execution_state="busy")])
        time.sleep(0.05)
    assert recorder.subscribed.wait(10)
    _recorders[str(kernel.connection)] = recorder
    record([], kernel, tmp_path, "broken")


class _Folder:
    """What the helper says of a recorded run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, run: str, stream: str, offset: int) -> Chunk:
        data = (self._folder / stream).read_bytes()
        return Chunk(offset=offset, size=len(data), data=data[offset:])

    def state(self, run: str) -> RunState:
        return RunState(run=run, state="exited")

    def close(self) -> None:
        pass


@with_regressions(CELL_ID)
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=batches(CELL_ID))
def test_the_notebook_driver(batch: list[Parts], kernel: SocketKernel, tmp_path: Path) -> None:
    """It goes through all cells."""
    drive(batch, kernel, tmp_path)


def drive(batch: list[Parts], kernel: SocketKernel, folder: Path) -> None:
    kernel.script = batch
    cells = [{"number": number, "code": "1", "allowed": True, "label": "cell"} for number in (0, 1)]
    spec = {
        "folder": str(folder),
        "connection": str(kernel.connection),
        "run": "job",
        "lastWords": bootstrap.sources()["last_words"],
        "keepGoing": True,
        "cells": cells,
    }
    driver = notebook_driver.Driver(spec)
    driver.run()
    driver.close()
    lines = (folder / "messages").read_bytes().splitlines()
    ends = [line for line in lines if line.startswith(b'{"end"')]
    assert len(ends) == 2


if __name__ == "__main__":
    import tempfile

    count = int(sys.argv[1]) // BATCH
    chosen = sys.argv[2:] or ["watcher", "printer", "recorder", "driver"]
    everything = settings(
        max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=False
    )
    devnull = open(os.devnull, "w")  # noqa: SIM115
    told = sys.stdout
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "runs").mkdir()
        odd = SocketKernel(place, "odd")
        jobs: dict[str, tuple[str, Any]] = {
            "watcher": (RUN, watch),
            "printer": (RUN, show),
            "recorder": (RUN_ID, lambda batch: record(batch, odd, place)),
            "driver": (CELL_ID, lambda batch: drive(batch, odd, place)),
        }
        for consumer in chosen:
            identity, take = jobs[consumer]
            began = time.monotonic()
            sys.stdout = sys.stderr = devnull
            try:
                everything(given(batches(identity))(take))()
            finally:
                sys.stdout, sys.stderr = told, sys.__stderr__
            print(f"{consumer}: {count * BATCH:,} messages in {time.monotonic() - began:.0f} s", flush=True)
        odd.close()
