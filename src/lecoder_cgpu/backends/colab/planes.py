"""Which control plane the settings choose, and opening it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import errors
from .control import Control

if TYPE_CHECKING:
    from ...config import Config
    from .calls import Tokens

PLANES = ("tunnel", "public")


def chosen_plane(config: Config) -> str:
    """The control plane that the settings name.

    Raises:
        errors.UsageError, errors.ConfigError: no plane has that name.
    """
    chosen = config.get("colabApi")
    if chosen.value not in PLANES:
        error = errors.ConfigError if chosen.source in ("config", "profile") else errors.UsageError
        raise error(
            f"unknown colabApi {chosen.value!r} (from {chosen.source})",
            hint="LECODER_CGPU_COLAB_API=tunnel, or LECODER_CGPU_COLAB_API=public",
        )
    return chosen.value


def open_control(plane: str, config: Config, tokens: Tokens) -> Control:
    """The control plane of that name."""
    if plane == "public":
        from .api_plane import ApiPlane

        return ApiPlane(config, tokens)
    from .web_plane import WebPlane

    return WebPlane(config, tokens)
