"""The metadata that papermill writes into notebooks: parameters, times, and what failed. Its readers read ours, too.

Source: papermill 2.7, `papermill/engines.py` and `papermill/execute.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import __version__
from ..models.base import Timing

KEY = "papermill"


def begin(
    notebook: Any, cells: Sequence[Any], parameters: dict[str, Any], *, input_path: str, output_path: str | None
) -> None:
    """Write what is known before the first cell; each of `cells` is going to run."""
    notebook.metadata[KEY] = {
        "default_parameters": {},
        "duration": None,
        "end_time": None,
        "environment_variables": {},
        "exception": None,
        "input_path": input_path,
        "output_path": output_path,
        "parameters": dict(parameters),
        "start_time": None,
        "version": f"lecoder-cgpu {__version__}",
    }
    for cell in cells:
        cell.metadata[KEY] = {
            "duration": None,
            "end_time": None,
            "exception": None,
            "start_time": None,
            "status": "pending",
        }


def cell_begins(cell: Any) -> None:
    """Note that a cell runs, where `begin` has prepared it."""
    if isinstance(noted := cell.metadata.get(KEY), dict):
        noted["status"], noted["exception"] = "running", False


def cell_ended(cell: Any, timing: Any, *, failed: bool) -> None:
    """Note when a cell ran, and how it ended."""
    if isinstance(noted := cell.metadata.get(KEY), dict):
        noted |= _times(timing)
        noted["status"], noted["exception"] = ("failed", True) if failed else ("completed", False)


def ended(notebook: Any, timing: Timing, *, failed: bool) -> None:
    """Note when the notebook ran, and whether it failed."""
    if isinstance(noted := notebook.metadata.get(KEY), dict):
        noted |= _times(timing)
        noted["exception"] = True if failed else None


def _times(timing: Any) -> dict[str, Any]:
    if not isinstance(timing, Timing):
        return {}
    return {"start_time": timing.started, "end_time": timing.completed, "duration": timing.duration_ms / 1000}
