"""Jupyter widgets as the messages of a run tell of them: their state, and which of them captures its output.

A widget's model lives in the kernel and tells its state through a comm of the target `jupyter.widget`. An Output
widget captures what a request shows from the moment when its state names the request (`msg_id`) until it no longer
does. Any code can send any message, so no field is taken for what it should be.
"""

from __future__ import annotations

from typing import Any

STATE = "application/vnd.jupyter.widget-state+json"


class Widgets:
    """The widgets that a run opens or changes.

    Args:
        msg_id: of the run's request; "" for none.
    """

    def __init__(self, msg_id: str = "") -> None:
        self._msg_id = msg_id
        self._states: dict[str, dict[str, Any]] = {}
        self._buffers: dict[str, dict[tuple[Any, ...], str]] = {}
        self._capturing: list[str] = []

    @property
    def capturing(self) -> str | None:
        """The Output widget to which output belongs now."""
        return self._capturing[-1] if self._capturing else None

    def take(self, kind: str, content: dict[str, Any], buffers: list[Any]) -> None:
        """Take a `comm_open` or `comm_msg`."""
        comm, data = content.get("comm_id"), content.get("data")
        if not isinstance(comm, str) or not isinstance(data, dict):
            return
        if kind == "comm_open":
            if content.get("target_name") != "jupyter.widget":
                return
        elif data.get("method") not in ("update", "echo_update"):
            return
        state = data.get("state")
        if not isinstance(state, dict):
            return
        import base64

        self._states.setdefault(comm, {}).update(state)
        paths = data.get("buffer_paths")
        for path, buffer in zip(paths if isinstance(paths, list) else [], buffers, strict=False):
            if isinstance(path, list) and all(isinstance(part, str | int) for part in path):
                self._buffers.setdefault(comm, {})[tuple(path)] = base64.b64encode(buffer).decode()
        if "msg_id" in state:
            self._capture(comm, state["msg_id"])

    def _capture(self, comm: str, msg_id: Any) -> None:
        if comm in self._capturing:
            self._capturing.remove(comm)
        if msg_id and msg_id == self._msg_id:
            self._capturing.append(comm)

    def merge(self, later: Widgets) -> None:
        """Take over what a later run of the same kernel has changed."""
        for comm, state in later._states.items():
            self._states.setdefault(comm, {}).update(state)
        for comm, buffers in later._buffers.items():
            self._buffers.setdefault(comm, {}).update(buffers)

    def metadata(self, captured: dict[str, list[Any]]) -> dict[str, Any] | None:
        """The `widgets` of a notebook's metadata; None when there are none.

        Args:
            captured: the outputs of Output widgets.
        """
        states = {comm: dict(state) for comm, state in self._states.items() if "_model_name" in state}
        for comm, outputs in captured.items():
            known = states.setdefault(comm, dict(_OUTPUT))
            known["outputs"], known["msg_id"] = outputs, ""
        if not states:
            return None
        models = {}
        for comm, state in states.items():
            models[comm] = {
                "model_name": state.get("_model_name"),
                "model_module": state.get("_model_module"),
                "model_module_version": state.get("_model_module_version"),
                "state": state,
            }
            if comm in self._buffers:
                models[comm]["buffers"] = [
                    {"encoding": "base64", "path": list(path), "data": data}
                    for path, data in self._buffers[comm].items()
                ]
        return {STATE: {"state": models, "version_major": 2, "version_minor": 0}}


# An Output widget that was opened before anybody listened.
_OUTPUT = {
    "_model_module": "@jupyter-widgets/output",
    "_model_module_version": "1.0.0",
    "_model_name": "OutputModel",
    "_view_module": "@jupyter-widgets/output",
    "_view_module_version": "1.0.0",
    "_view_name": "OutputView",
}
