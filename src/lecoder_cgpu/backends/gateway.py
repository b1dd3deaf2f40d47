"""Backend `gateway`: Jupyter Kernel Gateway and Enterprise Gateway, whose kernels may live on machines of their own.

A gateway starts kernels for anybody with the token, and by default it tells nobody which run (protocol J37). So kernels
are found again by the ids in the record alone, and never looked for. Closing a session ends those that we started.
"""

from __future__ import annotations

import getpass
from urllib.parse import urlsplit

from msgspec import structs

from .. import errors
from ..jupyter.endpoint import Endpoint
from ..store.session_store import Record
from . import jupyter
from .protocol import ServerRequest

USER = "KERNEL_USERNAME"  # what Enterprise Gateway calls the user on whose behalf a kernel runs


class Backend(jupyter.Backend):
    """Gateways, from the stored session or from the settings `jupyterUrl` and `jupyterToken`."""

    name = "gateway"
    label = "Gateway"
    no_page = "a gateway has no page; it starts kernels and nothing else"

    def attach(self, name: str, server: ServerRequest) -> Record:
        record = super().attach(name, server)
        record.backend = self.name
        record.label = record.runtime.label = f"Gateway {urlsplit(record.runtime.endpoint).netloc}"
        record.kernel_env = {USER: _user(), **server.kernel_env}
        return record

    def can_start_new(self) -> bool:
        return True  # each session has kernels of its own there

    def refresh_endpoint(self, record: Record, error: errors.Error) -> Endpoint | None:
        if USER in error.message:
            error.message = error.message.replace("the server refused the token", "the gateway refuses this user")
            error.hint = (
                f"give another user: lecoder-cgpu sessions add {record.name} --gateway {record.runtime.endpoint} "
                f"--env {USER}=NAME --token-stdin --force"
            )
            return None
        return super().refresh_endpoint(record, error)

    def _endpoint(self, record: Record) -> Endpoint:
        return structs.replace(super()._endpoint(record), lists=False, kernel_env=record.kernel_env)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "lecoder"
