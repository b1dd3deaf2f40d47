"""Run code on remote accelerators: Google Colab, any Jupyter server, or an embedded local runtime.

The names of the library are loaded on first use, so that the command line, which needs few of them, does not pay.
"""

from __future__ import annotations

__version__ = "0.6.0"

TYPE_CHECKING = False  # type checkers take it for true; importing `typing` would cost every command 5 ms
if TYPE_CHECKING:
    from . import errors as errors
    from . import events as events
    from . import results as results
    from .api.aio import AsyncClient as AsyncClient
    from .api.aio import AsyncJob as AsyncJob
    from .api.aio import AsyncSession as AsyncSession
    from .api.aio import AsyncStream as AsyncStream
    from .api.client import Client as Client
    from .api.job import Job as Job
    from .api.session import Session as Session
    from .api.stream import Stream as Stream
    from .pool import Pool as Pool
    from .remote_functions.function import RemoteFunction as RemoteFunction
    from .remote_functions.function import remote as remote

_HOMES = {
    "AsyncClient": "api.aio",
    "AsyncJob": "api.aio",
    "AsyncSession": "api.aio",
    "AsyncStream": "api.aio",
    "Client": "api.client",
    "Job": "api.job",
    "Pool": "pool",
    "Session": "api.session",
    "Stream": "api.stream",
    "RemoteFunction": "remote_functions.function",
    "remote": "remote_functions.function",
}
__all__ = [
    "AsyncClient",
    "AsyncJob",
    "AsyncSession",
    "AsyncStream",
    "Client",
    "Job",
    "Pool",
    "RemoteFunction",
    "Session",
    "Stream",
    "__version__",
    "errors",
    "events",
    "remote",
    "results",
]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    if name in ("errors", "events", "results"):
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
