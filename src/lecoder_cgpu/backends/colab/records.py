"""Colab's facts in a session's record: what is asked for, what was given, and how to reach it. Nobody is asked here."""

from __future__ import annotations

import math
import re
import shlex
import time

from msgspec import structs

from ... import errors
from ...jupyter.endpoint import Endpoint
from ...store import leases, lifecycle
from ...store.session_store import Allocation, Proxy, Record
from ..protocol import HeldRuntime, RuntimeRequest
from . import model
from .control import Ask
from .model import Assignment, ProxyInfo

FOLDER = "content"  # where code on a Colab VM finds itself; its Jupyter server's root is / (protocol C36)
TOKEN_HEADER = "X-Colab-Runtime-Proxy-Token"  # noqa: S105 - the name of a header

ASSIGN_LIMIT = 240.0  # seconds after a request in which its runtime may still appear (protocol C7)


def endpoint(record: Record, agent: str) -> Endpoint:
    """How to reach the runtime of a record that has an address. `agent` is the name under which Colab sees us."""
    assert record.runtime.proxy is not None
    proxy = record.runtime.proxy
    extra = {TOKEN_HEADER: proxy.token or "", "X-Colab-Client-Agent": agent}
    # Nobody is known to speak the v1 subprotocol with Colab's kernels (protocol C35).
    return Endpoint(url=proxy.url.rstrip("/") + "/", folder=FOLDER, extra=extra, v1=False)


def new_key() -> str:
    """A fresh key: a random UUID, from which Colab's notebook hash is made."""
    import uuid

    return str(uuid.uuid4())


def allocation_for(wants: RuntimeRequest) -> Allocation:
    """What to ask Colab for, with a fresh key.

    Raises:
        errors.UsageError: that is no accelerator's name, or one of the other kind.
    """
    allocation = Allocation(key=new_key(), high_memory=wants.high_ram)
    if wants.cpu:
        allocation.variant = "DEFAULT"
    elif wants.tpu is not None:
        allocation.variant = "TPU"
        allocation.accelerators, allocation.typed = names(wants.tpu, "TPU"), list(wants.tpu)
    else:
        allocation.accelerators, allocation.typed = names(wants.gpu, "GPU"), list(wants.gpu)
    return allocation


def names(typed: tuple[str, ...], kind: str) -> list[str]:
    """Accelerators as Colab spells them.

    Raises:
        errors.UsageError
    """
    found = []
    for text in typed:
        name = model.typed_accelerator(text)
        other = model.is_tpu(name) != (kind == "TPU")
        if not name or (other and kind == "TPU" and name not in model.GPUS):
            known = ", ".join(model.GPUS if kind == "GPU" else model.TPUS)
            if kind == "GPU" and "TPU" in text.upper():
                raise errors.UsageError(f"{text} is not a GPU", name="UnknownAccelerator", hint="use --tpu")
            raise errors.UsageError(
                f"{text!r} is no accelerator's name (Colab has, for example: {known})",
                name="UnknownAccelerator",
                hint=_advice(text, kind),
            )
        if other:
            option, quoted = "--tpu" if kind == "GPU" else "--gpu", shlex.quote(text)
            raise errors.UsageError(f"{text} is not a {kind}", name="UnknownAccelerator", hint=f"use {option} {quoted}")
        found.append(name)
    return found


def _advice(text: str, kind: str) -> str:
    """What to type for what other tools take where an accelerator's name is expected."""
    option, word = f"--{kind.lower()}", text.strip().lower()
    if word in ("cpu", "none", "no", "off", "false", "0"):
        return "for a runtime without accelerator: --cpu"
    if word in ("any", "auto", "gpu", "true", "yes", "1"):
        return "for any GPU, leave out --gpu; of one kind: --gpu T4; the first that is free: --gpu L4,T4"
    one = re.sub(r"^\d+\s*x\s*|\s*[:x*]\s*\d+$", "", word)
    if one != word and (name := model.typed_accelerator(one)):
        return f"how many there are is Colab's choice, mostly one: {option} {name}"
    return "what this account may use: lecoder-cgpu gpus"


def ask_of(allocation: Allocation) -> Ask:
    """The request of an allocation, for looking whether it had an effect."""
    assert allocation.key is not None
    name = allocation.accelerators[0] if allocation.accelerators else None
    return Ask(key=allocation.key, variant=allocation.variant, accelerator=name, high_memory=allocation.high_memory)


def may_appear(allocation: Allocation) -> float:
    """For how many seconds a request that was sent, and whose answer nobody has, may still bring a runtime."""
    if not allocation.sent or allocation.asked_at is None:
        return 0.0
    wall, ticks = abs(time.time() - allocation.asked_at), time.monotonic() - (allocation.asked_tick or math.inf)
    return max(ASSIGN_LIMIT - (wall if ticks < 0 else min(wall, ticks)), 0.0)  # below 0: started anew since


def take(record: Record, found: Assignment) -> None:
    """Write into a record what Colab says of its runtime."""
    record.label = record.runtime.label = found.label
    record.variant = found.variant
    record.runtime.endpoint = found.endpoint
    record.runtime.accelerator = "none" if found.accelerator == "NONE" else found.accelerator
    if found.proxy is not None:
        take_proxy(record, found.proxy)
    if record.allocation is not None:
        record.allocation.address = found.address or record.allocation.address
        record.allocation.tier = found.tier or record.allocation.tier


def take_proxy(record: Record, found: ProxyInfo) -> None:
    """Write a fresh address and token into a record."""
    record.runtime.proxy = Proxy(url=found.url, token=found.token, token_expires_in_seconds=found.lifetime)
    if record.allocation is not None:
        record.allocation.expires = time.time() + found.lifetime


def held(found: Assignment) -> HeldRuntime:
    """A row of the listing as every lender tells it."""
    runtime = HeldRuntime(
        endpoint=found.endpoint,
        label=found.label,
        variant=found.variant,
        accelerator=found.accelerator,
        high_memory=found.high_memory,
    )
    if found.proxy is None:
        return runtime
    server = Endpoint(url=found.proxy.url.rstrip("/") + "/", folder=FOLDER, extra={TOKEN_HEADER: found.proxy.token})
    return structs.replace(runtime, url=found.proxy.url, server=server)


def of_predecessor(record: Record) -> Allocation:
    """The allocation of a record that the predecessor wrote. Its runtime is taken to be there."""
    variant = record.variant if record.variant in ("GPU", "TPU") else "DEFAULT"
    found = accelerator_of(record)
    accelerators = [] if found == "NONE" else [found]
    return Allocation(state="ready", variant=variant, accelerators=accelerators)  # type: ignore[arg-type]


def plane_of(record: Record) -> str:
    """The control plane that knows the session's runtime."""
    return record.allocation.plane if record.allocation is not None else "tunnel"


def accelerator_of(record: Record) -> str:
    """The accelerator of the session's runtime, as Colab spells it."""
    return model.accelerator(record.runtime.accelerator)


def lost(record: Record) -> errors.Error:
    """The error for the use of a session whose runtime is gone."""
    if lifecycle.stage(record) == "closing":
        return errors.LostError(
            f"the runtime of session {record.name!r} was given back, and Colab still lists it",
            name="RuntimeClosing",
            hint="repeat the same command in a minute; lecoder-cgpu sessions list shows when it is gone",
        )
    return leases.gone(record)


def busy(record: Record, waited: float) -> errors.Error:
    """The error for a session that another process works on, or hangs over."""
    return errors.RuntimeBusy(
        f"another command, or the keeper, has been asking Colab about session {record.name!r} for {waited:.0f} s, "
        "and has not ended",
        hint="repeat the same command when it has ended; a keeper that hangs: lecoder-cgpu keeper stop",
    )


def no_boot(record: Record, waited: float, problem: str) -> errors.Error:
    """The error for a runtime that was given, and does not answer."""
    return errors.ConnectionFailed(
        f"the runtime {record.runtime.endpoint} was assigned and does not answer after {waited:g} s: {problem}",
        name="BootTimeout",
        hint=f"wait on: lecoder-cgpu sessions ensure {record.name}; or give it back: "
        f"lecoder-cgpu sessions close {record.name}",
    )


def unlisted(record: Record) -> errors.Error:
    """The error for a runtime that Colab does not list, and that may be there all the same."""
    return errors.Unlisted(
        f"Colab does not list the runtime of session {record.name!r} now; it may still be there, and cost",
        name="RuntimeUnlisted",
        hint=f"repeat the same command in a minute; or give it back: lecoder-cgpu sessions close {record.name}",
    )


def unanswered(record: Record, left: float) -> errors.Error:
    """The error for a request that was cut off, whose runtime may still appear for `left` seconds."""
    return errors.Unanswered(
        f"a runtime for session {record.name!r} was asked for, and the command was cut off before the answer came: for "
        f"{left:.0f} s more it may appear, and cost; it is given back then",
        name="StartUnanswered",
        hint=f"the keeper does that; so does, when it has appeared: lecoder-cgpu sessions close {record.name}",
    )


def closed_in_use(record: Record) -> errors.Error:
    """The error for a session that another command has closed while this one used it."""
    return errors.RuntimeLost(
        f"session {record.name!r} was closed by another command, which ended its runtime",
        name="SessionClosed",
        hint="what is held: lecoder-cgpu sessions list",
    )


def closed_meanwhile(record: Record) -> errors.Error:
    """The error for a session that another command has closed."""
    return errors.CapacityError(
        f"session {record.name!r} was closed by another command",
        name="AllocationFailed",
        hint=f"ask for it again: lecoder-cgpu sessions ensure {record.name}",
    )
