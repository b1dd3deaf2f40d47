"""Where runtimes come from. A backend obtains, finds again and releases an `Endpoint`; nothing else.

After that, Colab, a lab server and a local process run the same code: kernel and process code never asks which
backend it works for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol

from msgspec import Struct

from .. import errors
from ..config import BACKENDS
from ..jupyter.endpoint import Endpoint
from ..store.leases import Limits

if TYPE_CHECKING:
    from pathlib import Path

    from ..config import Config
    from ..jupyter.execution_watch import Responder
    from ..store.session_store import Record

Released = Literal["server", "runtime", "requested", "nothing"]


class RuntimeRequest(Struct, frozen=True, kw_only=True):
    """What kind of runtime a command asked for. Nothing given: whatever session is in use.

    `gpu` and `tpu` are names, the best first; an empty tuple of TPUs means any, None that none was asked for.
    `patience` is for how many seconds to wait for a machine to become free, `limits` are those of the lease.
    """

    cpu: bool = False
    tpu: tuple[str, ...] | None = None
    gpu: tuple[str, ...] = ()
    high_ram: bool = False
    new: bool = False
    patience: float = 0.0
    limits: Limits = Limits()

    @property
    def options(self) -> list[str]:
        """The options as the user wrote them."""
        written = {
            "--cpu": self.cpu,
            " ".join(["--tpu", ",".join(self.tpu or ())]).strip(): self.tpu is not None,
            f"--gpu {','.join(self.gpu)}": self.gpu,
            "--high-ram": self.high_ram,
            "--new-runtime": self.new,
        }
        return [option for option, given in written.items() if given]


def _nobody(text: str) -> None:
    pass


class AcquireOptions(Struct, frozen=True, kw_only=True):
    """On which terms a runtime is obtained.

    `tell` hears what the user should know meanwhile; `patience` is for how many seconds a machine may be waited for;
    `replace` allows another runtime in the place of one that is gone, where that costs money.
    """

    tell: Callable[[str], None] = _nobody
    patience: float = 0.0
    replace: bool = False


class Upstream(Struct, frozen=True):
    """A backend's own proxy for a port of the runtime: its address without a final slash, the header and token that it
    asks for, and until when (Unix time) the token is good."""

    url: str
    header: str
    token: str
    expires: float

    def __repr__(self) -> str:  # a token must not reach a log through a traceback
        return f"Upstream(url={self.url!r})"


class Backend(Protocol):
    """What a place that lends runtimes must be able to do. Who only asks what is known here never uses the network."""

    def create(self, name: str, wants: RuntimeRequest) -> Record:
        """A record for a session that does not exist yet; starts nothing."""

    def serves(self, record: Record, wants: RuntimeRequest) -> bool:
        """Whether the session's runtime is of the kind that is wanted, as far as is known here."""

    def obtain(self, record: Record, terms: AcquireOptions) -> tuple[Endpoint, bool]:
        """The session's endpoint, brought to life if need be, and whether the runtime is a fresh one."""

    def find(self, record: Record) -> Endpoint | None:
        """The endpoint as it is known here; None when there is none without starting anything."""

    def known_gone(self, record: Record) -> bool:
        """Whether it is known here that the session's runtime is gone."""

    def is_gone(self, record: Record) -> bool:
        """Whether the runtime is gone, as those know who lend it."""

    def refresh_endpoint(self, record: Record, error: errors.Error) -> Endpoint | None:
        """After the endpoint was refused or not reached: another way to the same runtime, None when there is none.

        Raises:
            errors.LostError: the runtime is gone. errors.Error: whoever knows could not be asked.
        """

    def release(self, record: Record) -> Released:
        """Give the runtime back, as far as it is ours to end, and say what came of it."""

    def can_start_new(self) -> bool:
        """Whether `--new-runtime` can give a runtime of its own."""

    def upstream(self, record: Record) -> Callable[[int], Upstream] | None:
        """What finds the backend's own proxy for a port of the runtime, with a fresh token; None where there is none.

        It raises errors.NotFoundError for a port that it does not serve, else as the backend has it.
        """

    def responder(self, record: Record, secrets: dict[str, str], tell: Callable[[str], None]) -> Responder | None:
        """Who answers what code on the runtime asks of its front end, beyond Jupyter's protocol; None for nobody."""


_MODULES = {"colab": "colab.backend"}  # a backend that is a package of its own


def load(name: str, config: Config, state_dir: Path) -> Backend:
    """The backend of that name.

    Raises:
        errors.UsageError: this version has none.
    """
    if name not in BACKENDS:
        raise errors.UsageError(
            f"this version has no backend {name!r}", name="UnknownBackend", hint="--backend " + "|".join(BACKENDS)
        )
    backend: Backend = importlib.import_module(f"{__package__}.{_MODULES.get(name, name)}").Backend(config, state_dir)
    return backend
