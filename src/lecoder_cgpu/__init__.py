"""Run code on remote accelerators: Google Colab, any Jupyter server, or an embedded local runtime.

The names of the library are loaded on first use, so that the command line, which needs few of them, does not pay.
"""

from __future__ import annotations

__version__ = "0.6.0"

TYPE_CHECKING = False  # type checkers take it for true; importing `typing` would cost every command 5 ms
if TYPE_CHECKING:
    from . import errors as errors
    from .api.client import Client as Client
    from .api.job import Job as Job
    from .api.session import Session as Session
    from .api.stream import Stream as Stream
    from .pool import Pool as Pool
    from .remote_functions import remote as remote

_HOMES = {
    "Client": "api.client",
    "Job": "api.job",
    "Pool": "pool",
    "Session": "api.session",
    "Stream": "api.stream",
    "remote": "remote_functions",
}
__all__ = ["Client", "Job", "Pool", "Session", "Stream", "__version__", "errors", "remote"]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    if name == "errors":
        return import_module(".errors", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
