"""What a run on the runtime is started with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from ..system import redaction


class Launch(Struct, frozen=True, kw_only=True):
    """Where and with what a run starts, and the limits that the runtime itself keeps for it.

    `cwd`: the folder in which a process starts, relative to the kernel's folder.
    `environment`: variables added to its environment.
    `secrets`: the same; only their names are ever written down.
    `hidden`: values that lists of jobs and messages must not show of its output, besides those of `secrets`; never
    written down.
    `timeout`: seconds after which the run is ended; for code in a kernel, counted from when the kernel takes it up.
    `idle_timeout`: seconds without output after which the run is ended.
    `digest`: of the input; starting the same run id with another digest is refused.
    `name`: of a job, by which people may call it; two jobs may have the same.
    `renames`: whether a job that is there already, by its id and digest, takes the name.
    `around`: Python that a kernel executes before and after the code, and of which nobody sees anything.
    `run_id`: of a process; a fresh one is made where it is None.
    `pull`: results (`PATH[:LOCAL]`) that are noted with the run, for the client that fetches them.
    `place`: paths on the runtime, and where what lies there is moved to right before the process starts. If the run is
    there already, it is deleted instead (a name of ours, see `guest/placing.py`).
    `push`: paths and folders on the runtime, to which it copies them itself; `push_every`: seconds between two copies.

    None leaves each of them out. Code in a kernel has no `cwd`, `environment` or `secrets` of its own.
    """

    cwd: str | None = None
    environment: dict[str, str] | None = None
    secrets: dict[str, str] | None = None
    hidden: Sequence[str] | None = None
    timeout: float | None = None
    idle_timeout: float | None = None
    digest: str | None = None
    name: str | None = None
    renames: bool = False
    around: tuple[str, str] | None = None
    pull: Sequence[str] | None = None
    place: Sequence[tuple[str, str]] | None = None
    push: Sequence[tuple[str, str]] | None = None
    push_every: float | None = None
    run_id: str | None = None

    def __post_init__(self) -> None:
        redaction.protect(*(self.secrets or {}).values(), called_secret=True)

    def __repr__(self) -> str:
        """All but the values of the secrets, and those of the environment, which may be secrets, too."""
        names = sorted({*(self.environment or ()), *(self.secrets or ())})
        return f"Launch(cwd={self.cwd!r}, variables={names}, timeout={self.timeout}, digest={self.digest!r})"

    def limits_request(self) -> dict[str, Any]:
        """The fields that any run has, by their names in a call of the helper; those that are None are left out."""
        return _given(
            timeout=self.timeout,
            idleTimeout=self.idle_timeout,
            digest=self.digest,
            name=self.name,
            renames=self.renames or None,
            around=self.around,
            pull=list(self.pull or ()) or None,
        )

    def request(self) -> dict[str, Any]:
        """All fields, by their names in a call of the helper; those that are None are left out."""
        hidden = list(self.hidden or ()) or None
        push = [list(pair) for pair in self.push or ()] or None
        return self.limits_request() | _given(
            cwd=self.cwd,
            env=self.environment,
            secrets=self.secrets,
            hidden=hidden,
            place=[list(pair) for pair in self.place or ()] or None,
            push=push,
            pushEvery=self.push_every if push else None,
        )


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


DEFAULT = Launch()
