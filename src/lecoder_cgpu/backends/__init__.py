"""Where runtimes come from. A backend obtains, finds again and releases an `Endpoint`; nothing else.

After that, Colab, a lab server and a local process run the same code: kernel and process code never asks which
backend it works for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from .. import errors

if TYPE_CHECKING:
    from pathlib import Path

    from ..config import Config
    from ..sessions import Record


class Endpoint(Struct, frozen=True, kw_only=True):
    """A Jupyter server that we may talk to.

    `url` ends with a slash and includes the base path; `token` goes into the Authorization header and nowhere else.
    `folder` is the folder for session paths on the server ("" is its root).
    """

    url: str
    token: str | None = None
    folder: str = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"token {self.token}"} if self.token else {}

    def __repr__(self) -> str:  # a token must not reach a log through a traceback
        return f"Endpoint(url={self.url!r})"


class Backend(Protocol):
    """What a place that lends runtimes must be able to do."""

    def create(self, name: str) -> Record:
        """A record for a session that does not exist yet; starts nothing."""

    def obtain(self, record: Record) -> tuple[Endpoint, bool]:
        """The session's endpoint, brought to life if need be, and whether the runtime is a fresh one."""

    def find(self, record: Record) -> Endpoint | None:
        """The endpoint if the runtime is there without starting anything, None when it is certainly gone."""

    def release(self, record: Record) -> bool:
        """Give the runtime back; True when something was ended. False also where it is not ours to end."""

    def renewable(self) -> bool:
        """Whether `--new-runtime` can give a runtime of its own."""


def load(name: str, config: Config, state_dir: Path) -> Backend:
    """The backend of that name.

    Raises:
        errors.UsageError: this version cannot use it.
    """
    if name == "colab":
        raise errors.UsageError(
            "this version cannot lend Colab runtimes yet",
            name="BackendUnavailable",
            hint="use --backend local, or a Jupyter server: lecoder-cgpu sessions add NAME --url URL --token-stdin",
        )
    backend: Backend = importlib.import_module(f"{__name__}.{name}").Backend(config, state_dir)
    return backend
