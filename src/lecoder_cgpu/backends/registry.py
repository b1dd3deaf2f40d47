"""The one table of backends: which names there are, and what makes the backend of a name.

This module imports no backend, so that the command line can ask it for names at no cost.

There are three ways into the table:

* a built-in backend has a line in `BUILT_IN`;
* a program that uses the library calls `register` before it makes a client;
* an installed distribution declares an entry point in the group `lecoder_cgpu.backends`. Its name is the backend's
  name, its object the loader. Entry points are read only when a name is asked for that the table does not have.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from .. import errors
from ..config import DEFAULT_BACKEND

if TYPE_CHECKING:
    from pathlib import Path

    from ..config import Config, Value
    from .protocol import Backend

    Loader = Callable[[Config, Path], Backend]

DEFAULT = DEFAULT_BACKEND
SERVERS = "jupyter"  # the backend of `sessions add --url`
GATEWAYS = "gateway"  # the backend of `sessions add --gateway`
HUBS = "hub"  # the backend of `sessions add --hub`
FOLDERS = "local"  # the backend of `sessions add --root`
GROUP = "lecoder_cgpu.backends"  # of entry points

BUILT_IN = {
    "colab": "colab.backend",
    "jupyter": "jupyter",
    "local": "local",
    "gateway": "gateway",
    "hub": "hub.backend",
}
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_registered: dict[str, Loader] = {}
_entry_points: dict[str, Loader] | None = None


def names() -> tuple[str, ...]:
    """The names of the built-in backends, then of those that were registered. Entry points are not read."""
    return (*BUILT_IN, *_registered)


def register(name: str, loader: Loader) -> None:
    """Add a backend for this process.

    Args:
        name: what users give to `--backend`; lower case letters, digits and '-'.
        loader: makes the backend from the settings and the folder of the state files; usually its class.

    Raises:
        ValueError: the name is malformed, or taken.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot be a backend's name: lower case letters, digits and '-'")
    if name in names():
        raise ValueError(f"there is a backend {name!r} already")
    _registered[name] = loader


def is_known(name: str | None) -> bool:
    """Whether there is a backend of that name; reads the entry points if nobody else knows it."""
    return name is not None and (name in names() or name in _installed())


def chosen(config: Config) -> Value:
    """The backend that the settings name, with where they name it.

    Raises:
        errors.UsageError, errors.ConfigError: there is none of that name.
    """
    value = config.get("backend")
    if not is_known(value.value):
        error = errors.ConfigError if value.source in ("config", "profile") else errors.UsageError
        raise error(f"unknown backend {value.value!r} (from {value.source})", hint="--backend " + "|".join(names()))
    return value


def load(name: str, config: Config, state_dir: Path) -> Backend:
    """Make the backend of that name.

    Args:
        config: the settings. state_dir: the folder of the state files.

    Raises:
        errors.UsageError: there is none. errors.ConfigError: an installed one cannot be loaded.
    """
    if name in BUILT_IN:
        backend: Backend = importlib.import_module(f"{__package__}.{BUILT_IN[name]}").Backend(config, state_dir)
        return backend
    loader = _registered.get(name) or _installed().get(name)
    if loader is None:
        raise errors.UsageError(
            f"this version has no backend {name!r}", name="UnknownBackend", hint="--backend " + "|".join(names())
        )
    return loader(config, state_dir)


def _installed() -> dict[str, Loader]:
    """The loaders of the entry points, each of which imports its module when it is used. Read once in a process."""
    global _entry_points
    if _entry_points is None:
        from importlib.metadata import EntryPoint, entry_points

        def loader(point: EntryPoint) -> Loader:
            def load_and_call(config: Config, state_dir: Path) -> Backend:
                try:
                    found: Loader = point.load()
                except Exception as error:  # code of others, which may raise anything
                    raise errors.ConfigError(
                        f"the backend {point.name!r} ({point.value}) cannot be loaded: {error}",
                        hint="repair or remove the package that brings it, or choose another: --backend "
                        + "|".join(names()),
                    ) from error
                return found(config, state_dir)

            return load_and_call

        _entry_points = {point.name: loader(point) for point in entry_points(group=GROUP)}
    return _entry_points
