"""What a job has written, stdout and stderr in the order in which it wrote to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..guest import output_order

if TYPE_CHECKING:
    from ..helper.client import Helper
    from ..helper.documents import RunState
    from .jobs import Jobs


def read_both(
    jobs: Jobs, key: str, on_output: Callable[[str, bytes], None], offset: int, limit: int | None
) -> tuple[RunState, int, int]:
    """Deliver both streams of a job.

    Args:
        on_output: gets "stdout" or "stderr", and bytes.
        offset: where to begin in each stream, in bytes; from its end when negative.
        limit: the most bytes of each stream.

    Returns:
        The job, and the offsets in stdout and stderr behind what was delivered.
    """
    state, out = jobs.read(key, "stdout", offset, limit)
    state, err = jobs.read(key, "stderr", offset, limit)
    content = {"stdout": memoryview(out), "stderr": memoryview(err)}
    sizes = {"stdout": state.stdout_size or 0, "stderr": state.stderr_size or 0}
    begins = {name: max(size + offset, 0) if offset < 0 else offset for name, size in sizes.items()}
    noted, shown = dict.fromkeys(content, 0), dict(begins)
    for name, size in output_order.pieces(_order(jobs.helper, state.run)):
        noted[name] += size
        piece = content[name][shown[name] - begins[name] : max(noted[name] - begins[name], 0)]
        if piece:
            on_output(name, bytes(piece))
            shown[name] += len(piece)
    for name, whole in content.items():  # an earlier version wrote down no order
        if rest := whole[shown[name] - begins[name] :]:
            on_output(name, bytes(rest))
            shown[name] += len(rest)
    return state, shown["stdout"], shown["stderr"]


def _order(helper: Helper, run: str) -> bytes:
    content = bytearray()
    while chunk := helper.read(run, output_order.FILE, len(content)).data:
        content += chunk
    return bytes(content)
