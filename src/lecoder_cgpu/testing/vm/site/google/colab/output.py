"""The page in which the output is shown; a client without one can only refuse."""

from __future__ import annotations

from typing import Any

from . import _message


def eval_js(script: str, ignore_result: bool = False, timeout_sec: float | None = None) -> Any:
    """Run JavaScript where the output is shown, and return its result."""
    request = {"script": script}
    if ignore_result:
        _message.send_request("cell_javascript_eval", request)
        return None
    return _message.blocking_request("cell_javascript_eval", request, timeout_sec=timeout_sec)
