"""Clients and sessions as references: what is needed to find the same ones from another process, without secrets."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ..config import Config
from ..sessions.manager import SessionManager

__all__ = ["Reference"]


class Reference(NamedTuple):
    """The settings that a client was made with; its profile is fixed."""

    backend: str | None
    profile: str
    config_file: Path | None

    @classmethod
    def of(cls, manager: SessionManager) -> Reference:
        config = manager.config
        return cls(config.options.get("backend"), config.profile.name, config.config_file)

    def manager(self) -> SessionManager:
        """A manager with these settings, which tells nobody anything."""
        return SessionManager(
            Config(
                options={} if self.backend is None else {"backend": self.backend},
                config_file=self.config_file,
                profile_name=self.profile,
            )
        )
