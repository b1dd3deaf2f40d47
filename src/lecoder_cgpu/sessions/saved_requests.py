"""What a profile asks runtimes for where a command says nothing itself. What the command says always wins.

It counts where a runtime is chosen or started, as if it had been typed; never for a session that is named and there.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, structs

from .. import errors
from ..backends import protocol
from ..backends.protocol import Leased, RuntimeRequest
from ..models.profiles import SavedRequest
from ..profiles import FILE, Profile
from ..store.leases import Limits
from .session import Notify


def of(content: dict[str, Any], where: str) -> SavedRequest:
    """The saved options of a profile.

    Args:
        content: as they are stored. where: the file, for the message.

    Raises:
        errors.ConfigError: they are something else.
    """
    try:
        return msgspec.convert(content, SavedRequest)
    except msgspec.ValidationError as error:
        raise errors.ConfigError(
            f"{where} cannot be used: the saved options of a profile: {error}",
            hint="set them anew: lecoder-cgpu profile set NAME --gpu L4,T4",
        ) from error


def saved(wants: RuntimeRequest) -> SavedRequest:
    """What a command line asks for, to be saved; what it does not say stays unset."""
    limits = wants.limits
    return SavedRequest(
        gpu=list(wants.gpu) or UNSET,
        tpu=UNSET if wants.tpu is None else list(wants.tpu),
        cpu=wants.cpu or UNSET,
        high_ram=wants.high_ram or UNSET,
        wait_for_capacity=UNSET if wants.patience is None else wants.patience,
        idle_release=limits.idle,
        max_runtime=limits.max_runtime,
        max_units=limits.max_units,
        server_options=wants.server_options or UNSET,
    )


def joined(before: SavedRequest, now: SavedRequest) -> SavedRequest:
    """What was saved before, with what is said now: another accelerator takes the place of the earlier one."""
    found = {name: value for name in before.__struct_fields__ if (value := getattr(before, name)) is not UNSET}
    said = {name: value for name in now.__struct_fields__ if (value := getattr(now, name)) is not UNSET}
    if said.keys() & {"gpu", "tpu", "cpu"}:
        found = {name: value for name, value in found.items() if name not in ("gpu", "tpu", "cpu")}
    if "server_options" in said:
        said["server_options"] = found.get("server_options", {}) | said["server_options"]
    return SavedRequest(**found | said)


def request(kept: SavedRequest) -> RuntimeRequest:
    """The same as a command would ask."""
    return RuntimeRequest(
        cpu=kept.cpu is True,
        gpu=tuple(_said(kept.gpu, ())),
        tpu=None if kept.tpu is UNSET else tuple(_said(kept.tpu, ())),
        high_ram=kept.high_ram is True,
        patience=_said(kept.wait_for_capacity, None),
        limits=Limits(idle=kept.idle_release, max_runtime=kept.max_runtime, max_units=kept.max_units),
        server_options=_said(kept.server_options, {}),
    )


def completed(wants: RuntimeRequest, profile: Profile, backend: protocol.Backend, notify: Notify) -> RuntimeRequest:
    """What a command asks for, with what its profile asks for beside that. What of it the backend does not have is left
    out, and told.

    Raises:
        errors.ConfigError: the profile's saved options cannot be read.
    """
    left_out: list[str] = []
    more = request(of(profile.request, FILE))
    if not backend.lends_accelerators and (more.gpu or more.tpu is not None or more.high_ram):
        left_out += structs.replace(more, cpu=False, server_options={}).options
        more = structs.replace(more, gpu=(), tpu=None, high_ram=False)
    if more.server_options and not backend.takes_server_options:
        left_out += RuntimeRequest(server_options=more.server_options).options
        more = structs.replace(more, server_options={})
    if more.limits and not isinstance(backend, Leased):
        left_out.append("the limits of its lease")
        more = structs.replace(more, limits=Limits())
    if wants.cpu or wants.gpu or wants.tpu is not None:
        more = structs.replace(more, cpu=False, gpu=(), tpu=None)
    limits = {name: value for name in Limits.__struct_fields__ if (value := getattr(wants.limits, name)) is not UNSET}
    answer = structs.replace(
        wants,
        cpu=wants.cpu or more.cpu,
        gpu=wants.gpu or more.gpu,
        tpu=more.tpu if wants.tpu is None else wants.tpu,
        high_ram=wants.high_ram or more.high_ram,
        patience=more.patience if wants.patience is None else wants.patience,
        limits=structs.replace(more.limits, **limits),
        server_options=more.server_options | wants.server_options,
    )
    if left_out:
        asked = ", ".join(left_out)
        notify(f"the {backend.name} backend does not have what profile {profile.name!r} asks for: {asked}")
    return answer


def words(kept: SavedRequest) -> list[str]:
    """The saved options as a command line has them."""
    found = list(request(structs.replace(kept, server_options=UNSET)).options)
    for option, value in (
        ("--wait-for-capacity", kept.wait_for_capacity),
        ("--idle-release", kept.idle_release),
        ("--max-runtime", kept.max_runtime),
    ):
        if value is not UNSET:
            found.append(f"{option} {'never' if value is None else f'{value:g}s'}")
    if kept.max_units is not UNSET:
        found.append(f"--max-units {'never' if kept.max_units is None else f'{kept.max_units:g}'}")
    return found + RuntimeRequest(server_options=_said(kept.server_options, {})).options


def _said(value: Any, otherwise: Any) -> Any:
    return otherwise if value is UNSET else value
