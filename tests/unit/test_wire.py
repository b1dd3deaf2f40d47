"""Frames and the state machine of an execution, without a socket."""

from __future__ import annotations

import contextlib
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lecoder_cgpu.jupyter import messages as wire
from lecoder_cgpu.jupyter.execution import EXECUTION_TYPES, Execution, Raised
from lecoder_cgpu.jupyter.message_numbers import MessageNumbers
from lecoder_cgpu.jupyter.outputs import Collector, OutputOptions
from lecoder_cgpu.models.runs import Run
from tests.support.odd_json import anything


def message(kind: str, content: dict[str, Any], channel: str = "iopub", parent: str = "r1") -> dict[str, Any]:
    return {
        "channel": channel,
        "header": {"msg_id": "m", "msg_type": kind, "session": "k"},
        "parent_header": {"msg_id": parent} if parent else {},
        "metadata": {},
        "content": content,
        "buffers": [],
    }


BUSY = message("status", {"execution_state": "busy"})
IDLE = message("status", {"execution_state": "idle"})
REPLY = message("execute_reply", {"status": "ok", "execution_count": 3}, "shell")
OUTPUT = message("stream", {"name": "stdout", "text": "hello\n"})
RAISED = message("error", {"ename": "KeyError", "evalue": "'x'", "traceback": ["KeyError: 'x'"]})
FAILED = message("execute_reply", {"status": "error", "ename": "KeyError", "evalue": "'x'", "traceback": []}, "shell")


def run(*messages: dict[str, Any]) -> tuple[Execution, list[wire.Event]]:
    execution = Execution("r1")
    events = []
    for item in messages:
        event = execution.receive(wire.decode(json.dumps(item)))
        if event is not None:
            events.append(event)
    return execution, events


@pytest.mark.parametrize("order", [(OUTPUT, IDLE, REPLY), (OUTPUT, REPLY, IDLE), (REPLY, OUTPUT, IDLE)])
def test_finished_needs_reply_and_idle_in_any_order(order: tuple[dict[str, Any], ...]) -> None:
    """Output that comes after the reply is part of the run: only reply and idle together end it."""
    execution = Execution("r1")
    execution.receive(wire.decode(json.dumps(BUSY)))
    seen: list[str] = []
    for item in order:
        assert not execution.finished
        execution.receive(wire.decode(json.dumps(item)))
        seen.append(item["header"]["msg_type"])
        assert execution.finished == ({"execute_reply", "status"} <= set(seen))
    assert execution.execution_count == 3


def test_an_exception_is_taken_from_either_message() -> None:
    """The exception is known from the iopub error or, when that was lost, from the reply."""
    assert run(BUSY, RAISED, FAILED, IDLE)[0].raised == Raised("KeyError", "'x'", ["KeyError: 'x'"])
    assert run(BUSY, FAILED, IDLE)[0].raised == Raised("KeyError", "'x'", [])


def test_an_aborted_request_is_over_at_once() -> None:
    """A request that the kernel dropped gets no idle on some kernels, and nothing of it was executed."""
    aborted = message("execute_reply", {"status": "aborted"}, "shell")
    assert run(aborted)[0].finished
    assert run(aborted)[0].status == "aborted"


def test_the_end_without_a_reply() -> None:
    """What was published tells how a run ended, also that it was dropped unexecuted; a part of it does not."""
    began = message("execute_input", {"code": "1", "execution_count": 4})
    note = message("lecoder_reply", {"status": "ok"})
    failed = message("lecoder_reply", FAILED["content"])
    known = {
        "ok": (BUSY, began, RAISED, note, IDLE),
        "error": (BUSY, began, OUTPUT, failed, IDLE),
        "aborted": (BUSY, IDLE),
        None: (BUSY, began, RAISED, IDLE),
    }
    for status, messages in known.items():
        execution, _ = run(*messages)
        execution.conclude(whole=True)
        assert execution.status == status
    execution, _ = run(OUTPUT, IDLE)
    execution.conclude()
    assert execution.status is None


def test_the_reply_decides_and_an_error_is_an_output() -> None:
    """Code may show exceptions that it handles, and fail without showing one."""
    ok, events = run(BUSY, RAISED, OUTPUT, RAISED, REPLY, IDLE)
    assert (ok.status, ok.raised) == ("ok", None)
    assert [type(event) for event in events] == [wire.Failure, wire.Stream, wire.Failure]
    failed, events = run(BUSY, OUTPUT, FAILED, IDLE)
    assert (failed.status, failed.raised) == ("error", Raised("KeyError", "'x'", []))
    assert [type(event) for event in events] == [wire.Stream]


def test_code_that_publishes_an_answer_has_answered_nothing() -> None:
    """Code can publish anything; the reply and what asks for input come on channels of their own."""
    fake = {"status": "error", "ename": "Fake", "evalue": "", "traceback": []}
    execution, events = run(
        message("execute_reply", fake), message("input_request", {"prompt": "?"}), message("stream", {"text": "x"})
    )
    assert (execution.replied, execution.inputs, [type(event) for event in events]) == (False, 0, [wire.Stream])


@pytest.mark.parametrize("state", ["restarting", "autorestarting", "dead"])
def test_death_ends_the_run_whoevers_message_it_is(state: str) -> None:
    """The server reports a crash without a parent, and no reply will ever come."""
    execution, _ = run(BUSY, message("status", {"execution_state": state}, parent=""))
    assert execution.finished
    assert execution.death


def test_a_restart_by_another_client_ends_the_run() -> None:
    """A restart asked for elsewhere shows only as `starting`; on a fresh kernel that is no death."""
    starting = message("status", {"execution_state": "starting"}, parent="")
    assert run(BUSY, starting)[0].death
    assert not run(starting)[0].death
    assert not run(BUSY, REPLY, starting)[0].death


def test_messages_of_other_clients_are_not_ours() -> None:
    """Output that belongs to somebody else's request is neither shown nor ends anything."""
    other = [
        message(kind, content, parent="other")
        for kind, content in [
            ("stream", {"name": "stdout", "text": "theirs"}),
            ("status", {"execution_state": "idle"}),
        ]
    ]
    execution, events = run(*other)
    assert events == []
    assert not execution.idle


def test_the_notice_of_dropped_output_is_no_output() -> None:
    """What the server writes when it drops messages is told apart from the program's stderr."""
    notice = message("stream", {"name": "stderr", "text": "IOPub data rate exceeded.\nThe Jupyter server will …"})
    _, events = run(BUSY, notice)
    assert isinstance(events[0], wire.Dropped)


def test_displays_updates_and_clearing() -> None:
    """Rich outputs keep their display id, updates say so, clear_output says whether to wait."""
    shown = {"data": {"text/plain": "1"}, "metadata": {}, "transient": {"display_id": "d"}}
    _, events = run(
        message("display_data", shown),
        message("update_display_data", shown),
        message("execute_result", {**shown, "execution_count": 5}),
        message("clear_output", {"wait": True}),
        message("input_request", {"prompt": "name? ", "password": False}, "stdin"),
    )
    assert events == [
        wire.Display({"text/plain": "1"}, {}, "d"),
        wire.Display({"text/plain": "1"}, {}, "d", update=True),
        wire.Display({"text/plain": "1"}, {}, "d", result=True),
        wire.Clear(True),
        wire.InputRequested("name? ", False),
    ]


def numbered(number: int, item: dict[str, Any]) -> dict[str, Any]:
    return {**item, "header": {**item["header"], "msg_id": f"session_77_{number}"}}


def test_gaps_in_the_kernels_numbering_are_lost_messages() -> None:
    """Queues may overflow without a word; the numbers of what arrived show it. Replies to others are no loss."""
    complete = [numbered(5, BUSY), numbered(6, OUTPUT), numbered(8, IDLE), numbered(7, REPLY)]
    assert run(*complete)[0].missing == 0
    assert run(*complete[:1], *complete[2:])[0].missing == 1
    theirs = [message("status", {"execution_state": state}, parent="theirs") for state in ("busy", "idle")]
    # Number 8 is the reply that went to them.
    mixed = [numbered(5, BUSY), numbered(6, OUTPUT), numbered(7, theirs[0]), numbered(9, theirs[1])]
    assert run(*mixed, numbered(10, REPLY), numbered(11, IDLE))[0].missing == 0
    assert run(*mixed, numbered(12, REPLY), numbered(13, IDLE))[0].missing == 2
    assert run(BUSY, OUTPUT, REPLY, IDLE)[0].missing == 0


@pytest.mark.parametrize("parent", ["", "o\ufffdrs", "ours"])
def test_the_number_of_a_damaged_message_is_missing_until_it_comes_whole(parent: str) -> None:
    """Unless it is certain whose it is: it may have been output of ours whose parent cannot be read."""
    numbers = MessageNumbers("ours")

    def note(number: int, item: dict[str, Any], parent: str, *, repaired: bool = False) -> None:
        found = wire.decode(json.dumps({**numbered(number, item), "parent_header": {"msg_id": parent}}))
        found.repaired = repaired
        numbers.note(found)

    for number, item in ((5, BUSY), (6, OUTPUT), (8, OUTPUT), (9, IDLE), (10, REPLY)):
        note(number, item, "ours")
    note(7, OUTPUT, parent, repaired=True)
    assert numbers.missing == (parent != "ours")
    note(7, OUTPUT, "ours")
    assert numbers.missing == 0


def v1_frame(item: dict[str, Any], buffers: list[bytes]) -> bytes:
    parts = [item["channel"].encode()]
    parts += [json.dumps(item[key]).encode() for key in ("header", "parent_header", "metadata", "content")]
    parts += buffers
    offsets = [8 * (len(parts) + 2)]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    return struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets) + b"".join(parts)


def default_frame(item: dict[str, Any], buffers: list[bytes]) -> bytes:
    parts = [json.dumps(item).encode(), *buffers]
    offsets = [4 * (len(parts) + 1)]
    for part in parts[:-1]:
        offsets.append(offsets[-1] + len(part))
    return struct.pack(f">{len(parts) + 1}I", len(parts), *offsets) + b"".join(parts)


@given(st.text(), st.lists(st.binary(max_size=20), max_size=3))
def test_all_three_forms_of_a_frame_mean_the_same(text: str, buffers: list[bytes]) -> None:
    """Text frames, binary frames and v1 frames decode to equal messages, and buffers come whole."""
    item = message("stream", {"name": "stdout", "text": text})
    plain = wire.decode(json.dumps(item))
    assert plain.content["text"] == text
    for decoded in (
        wire.decode(default_frame(item, buffers)),
        wire.decode(v1_frame(item, buffers), wire.V1_SUBPROTOCOL),
    ):
        assert [bytes(part) for part in decoded.buffers] == buffers
        decoded.buffers = []
        assert decoded == plain


@pytest.mark.parametrize("subprotocol", [None, wire.V1_SUBPROTOCOL])
def test_a_request_with_buffers_decodes_to_itself(subprotocol: str | None) -> None:
    """What is sent with binary parts is what a peer of the same protocol reads."""
    request = wire.request("x", {"a": 1}, session="s", buffers=(b"one", b"", b"three"))
    decoded = wire.decode(request.frame(subprotocol), subprotocol)
    assert (decoded.type, decoded.content, decoded.channel) == ("x", {"a": 1}, "shell")
    assert [bytes(part) for part in decoded.buffers] == [b"one", b"", b"three"]


FIELDS = (
    "name", "text", "data", "metadata", "transient", "wait", "ename", "evalue", "traceback", "execution_count",
    "execution_state", "status", "payload", "user_expressions", "prompt", "password",
)  # fmt: skip


@given(st.sampled_from(sorted(EXECUTION_TYPES)), st.dictionaries(st.sampled_from(FIELDS), anything, max_size=5))
def test_odd_contents(kind: str, content: dict[str, Any]) -> None:
    """Code can publish anything in a kernel: no field has the type that it should have, and nothing fails."""
    execution = Execution("r1")
    event = execution.receive(wire.decode(json.dumps(message(kind, content))))
    collector = Collector(OutputOptions(max_output=100, inline=False))
    if event is not None:
        collector.add(event)
    collector.fill(Run(status="ok", error_code=0, exit_code=0, mode="kernel"))
    assert execution.execution_count is None or isinstance(execution.execution_count, int)
    assert execution.plain_value("value") is None or isinstance(execution.plain_value("value"), str)


@given(st.binary())
def test_garbage_is_a_value_error(frame: bytes) -> None:
    """A frame that is no message raises ValueError and nothing else, in either binary form."""
    for subprotocol in (None, wire.V1_SUBPROTOCOL):
        with contextlib.suppress(ValueError):
            wire.decode(frame, subprotocol)


def test_a_request_is_sent_for_the_shell_and_never_stops_others() -> None:
    """Our failures must not abort what other clients have queued."""
    request = wire.execute_request("1", session="s")
    sent = json.loads(request.frame(None))
    assert sent["header"]["msg_id"] == request.msg_id
    assert sent["channel"] == "shell"
    assert sent["content"]["stop_on_error"] is False
    assert sent["content"]["allow_stdin"] is False


def test_a_request_means_the_same_in_both_forms() -> None:
    """What the v1 subprotocol carries in parts is what the default one carries as one JSON text."""
    request = wire.request("input_reply", {"value": "é"}, session="s", channel="stdin")
    decoded = [wire.decode(request.frame(name), name) for name in (None, wire.V1_SUBPROTOCOL)]
    assert decoded[0] == decoded[1]
    assert decoded[0].content == {"value": "é"}
    assert decoded[0].channel == "stdin"


def test_much_text_is_handled_in_pieces() -> None:
    """Nothing is lost, and where it belongs stays with each piece; other events are what they were."""
    text = "0123456789" * (wire.PIECE // 10 + 7)
    pieces = list(wire.pieces(wire.Stream("stderr", text, "w")))
    assert [(item.name, item.widget) for item in pieces if isinstance(item, wire.Stream)] == [("stderr", "w")] * 2
    assert "".join(item.text for item in pieces if isinstance(item, wire.Stream)) == text
    clear = wire.Clear(wait=True)
    assert list(wire.pieces(clear)) == [clear]
