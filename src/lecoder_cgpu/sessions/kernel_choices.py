"""The kernels that a session's server can start, and which of them run."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from .. import errors
from ..jupyter.server import Kernel
from ..models.sessions import KernelChoice, kernel_state

if TYPE_CHECKING:
    from ..store.session_store import KernelRecord
    from .session import Session


def kernel_choices(session: Session) -> list[KernelChoice]:
    """The kernels that the server can start, with those of this session that run.

    Raises:
        errors.UsageError: (`NoKernelList`) the server does not tell.
        errors.AuthError, errors.ConnectionFailed: see net.http.request.
    """
    specs = session.kernel_specs
    if specs is None:
        raise errors.UsageError(
            "the server does not tell which kernels it has",
            name="NoKernelList",
            hint="ask whoever runs it; --kernel-name NAME is tried as it is",
        )
    own = session.own_kernel_name()
    known = [*session.record.kernels.values(), *([session.record.kernel] if session.record.kernel is not None else [])]
    running = _running(session, known)
    states = {item.name: running[item.id] for item in known if item.id in running}
    found = []
    for spec in specs.specs:
        choice = KernelChoice(name=spec.name, language=spec.language, display_name=spec.display_name)
        choice.is_chosen, choice.is_default = spec.name == own, spec.name == specs.default
        if (kernel := states.get(spec.name)) is not None:
            choice.id, choice.state = kernel.id, kernel_state(kernel.execution_state)
        found.append(choice)
    return found


def _running(session: Session, known: list[KernelRecord]) -> dict[str, Kernel]:
    """Which of these kernels run, by their ids. Asked one by one where the server does not list them."""
    if session.endpoint.lists:
        return {kernel.id: kernel for kernel in (session.server.kernels() if known else [])}
    found = {}
    for item in known:
        with contextlib.suppress(errors.NotFoundError):
            found[item.id] = session.server.kernel(item.id)
    return found
