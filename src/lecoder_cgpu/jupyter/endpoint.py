"""Where a Jupyter server is, and what it asks to be shown."""

from __future__ import annotations

from msgspec import Struct, field


class Endpoint(Struct, frozen=True, kw_only=True):
    """A Jupyter server that we may talk to.

    `url` ends with a slash and includes the base path; `token` goes into the Authorization header and nowhere else,
    `extra` are further headers. `folder` is the folder for session paths on the server ("" is its root). `ca` is a file
    with certificate authorities that are trusted besides the usual ones. `lists` is false for a gateway, which does not
    tell what runs there (protocol J37); `kernel_env` is what its kernels are started with. `v1` tells
    whether its sockets may be offered the v1 subprotocol.
    """

    url: str
    token: str | None = None
    folder: str = ""
    extra: dict[str, str] = field(default_factory=dict)
    ca: str | None = None
    lists: bool = True
    kernel_env: dict[str, str] = field(default_factory=dict)
    v1: bool = True

    @property
    def headers(self) -> dict[str, str]:
        return {**({"Authorization": f"token {self.token}"} if self.token else {}), **self.extra}

    def __repr__(self) -> str:  # a token must not reach a log through a traceback
        return f"Endpoint(url={self.url!r})"
