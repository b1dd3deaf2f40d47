"""What a runtime is asked for with, as the library's arguments say it."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET

from .. import errors
from ..backends.protocol import RuntimeRequest
from ..store.leases import Limits

__all__ = ["Never", "limits", "request"]

Never = Literal["never"]


def limits(
    *,
    idle_release: float | Never | None = None,
    max_runtime: float | Never | None = None,
    max_units: float | Never | None = None,
) -> Limits:
    """The limits of a lease; None leaves one as it is.

    Raises:
        errors.UsageError: one is no limit.
    """
    return Limits(
        idle=_limit("idle_release", idle_release),
        max_runtime=_limit("max_runtime", max_runtime),
        max_units=_limit("max_units", max_units),
    )


def _limit(name: str, value: float | Never | None) -> Any:
    if value is None:
        return UNSET
    if value == "never":
        return None
    if not 0 < float(value) < float("inf"):
        raise errors.UsageError(f"{name}={value!r} is not a limit", hint=f"{name}=3600, or {name}='never'")
    return float(value)


def request(
    *,
    gpu: str | None,
    tpu: bool | str = False,
    cpu: bool = False,
    high_ram: bool = False,
    new: bool = False,
    kernel_name: str | None = None,
    wait_for_capacity: float | None = None,
    server_options: dict[str, Any] | None = None,
    limits: Limits = Limits(),  # noqa: B008 - it cannot be changed
) -> RuntimeRequest:
    """The kind of runtime that is wanted."""
    return RuntimeRequest(
        cpu=cpu,
        gpu=() if gpu is None else tuple(part.strip() for part in gpu.split(",")),
        tpu=None if tpu is False else () if tpu is True else tuple(tpu.split(",")),
        high_ram=high_ram,
        new=new,
        kernel_name=kernel_name,
        patience=wait_for_capacity,
        server_options=server_options or {},
        limits=limits,
    )
