"""What messages tell of widgets, whatever their shape."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lecoder_cgpu.jupyter import messages, outputs
from lecoder_cgpu.jupyter.widgets import STATE, Widgets

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["state", "method", "buffer_paths", "msg_id", "_model_name", "x"]), inner)
    ),
    max_leaves=12,
)


@given(st.lists(st.tuples(st.sampled_from(["comm_open", "comm_msg"]), JSON, JSON, JSON)))
def test_any_message_can_come(given_messages: list[tuple[str, Any, Any, Any]]) -> None:
    """Nothing raises, and what is kept can be written."""
    widgets = Widgets("run")
    for kind, comm, target, data in given_messages:
        widgets.take(kind, {"comm_id": comm, "target_name": target, "data": data}, [b"b"])
        widgets.take(kind, {"comm_id": "c", "target_name": "jupyter.widget", "data": data}, [b"b"])
    found = widgets.metadata({"c": []})
    assert found is not None
    assert found[STATE]["state"]["c"]["state"]["outputs"] == []


def test_buffers_are_kept() -> None:
    """As base64, with their place in the state."""
    widgets = Widgets()
    data = {"state": {"_model_name": "ImageModel"}, "buffer_paths": [["value"]]}
    widgets.take("comm_open", {"comm_id": "i", "target_name": "jupyter.widget", "data": data}, [memoryview(b"png")])
    found = widgets.metadata({})
    assert found is not None
    assert found[STATE]["state"]["i"]["buffers"] == [{"encoding": "base64", "path": ["value"], "data": "cG5n"}]


def test_a_widget_clears_its_part_alone() -> None:
    """The streams and displays before, between and behind stay in their order; the cell's own clearing takes all."""
    collector = outputs.Collector()
    for event in (
        messages.Stream("stdout", "a\n"),
        messages.Stream("stdout", "1\n", "w"),
        messages.Display({"text/plain": "d"}, {}, widget="w"),
        messages.Stream("stdout", "b\n"),
        messages.Clear(True, "w"),
    ):
        collector.add(event)
    assert (collector.text("stdout"), len(collector.displays)) == ("a\n1\nb\n", 1)
    collector.add(messages.Stream("stdout", "2\n", "w"))
    assert (collector.text("stdout"), collector.displays) == ("a\nb\n2\n", [])
    collector.add(messages.Clear(False))
    assert collector.text("stdout") == ""
