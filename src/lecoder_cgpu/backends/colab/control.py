"""The interface of Colab's control planes, and what they refuse in one vocabulary.

Two planes serve it: `tunnel`, which Colab's own web page uses and every account can reach, and `public`, the Colab API,
for those who have enabled it in a Google Cloud project of their own. The setting `colabApi` chooses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

from msgspec import Struct

from ... import errors
from ...store.session_store import Record
from . import model
from .model import Account, Assignment, ProxyInfo

Grant = Literal["dfs_ephemeral", "auth_user_ephemeral"]
LIMITS = "https://research.google.com/colaboratory/faq.html#usage-limits"


class Ask(Struct, frozen=True, kw_only=True):
    """A request for a runtime. `key` is a UUID: the same key asks for the same runtime, however often.

    `accelerator` is None for whichever of the variant Colab gives.
    """

    key: str
    variant: Literal["DEFAULT", "GPU", "TPU"]
    accelerator: str | None = None
    high_memory: bool = False

    @property
    def shaped(self) -> bool:
        """Whether a machine shape is to be asked for: not where there is only one."""
        return self.high_memory and self.accelerator not in model.ONE_SHAPE

    def __str__(self) -> str:
        kind = self.accelerator or {"DEFAULT": "a CPU runtime"}.get(self.variant, f"a {self.variant}")
        return f"{kind} with high RAM" if self.high_memory else kind


class Propagation(Struct, frozen=True, kw_only=True):
    """Whether credentials reached the runtime; if not, where the user can agree to it."""

    success: bool
    consent_url: str | None = None


class Control(Protocol):
    """What a control plane does. Every method raises errors.AuthError without a login that it accepts, and
    errors.ConnectionFailed when it cannot be reached or does not make sense."""

    def assign(self, ask: Ask, sending: Callable[[bool], None]) -> Assignment:
        """A runtime, or the one that was assigned under this key already. May take minutes.

        Args:
            sending: called with True right before a request that may have an effect although no answer comes, and with
                False when that request was refused, so that it had none.

        Raises:
            errors.QuotaError, errors.CapacityError, errors.BlockedError: refused.
        """

    def find(self, ask: Ask) -> Assignment | None:
        """The runtime that was assigned under this key, None when there is none. Asks for nothing new."""

    def assignments(self) -> list[Assignment]:
        """Every runtime of the account, whoever asked for it; with fresh proxy tokens."""

    def proxy(self, endpoint: str, port: int = model.SERVER_PORT) -> ProxyInfo:
        """A fresh token for a port of a runtime, and its address.

        For the Jupyter server's it is for those runtimes whose row in the listing has none. That there are tokens for
        other ports is a guess from the name of the parameter; nobody has promised it.
        """

    def unassign(self, endpoint: str) -> bool:
        """Give a runtime back; False when it was gone already."""

    def account(self) -> Account:
        """What the account may use and what it costs; unknown where Colab does not say."""

    def tier(self) -> str | None:
        """free, pro or pro_plus; None where our login may not ask."""

    def keep_alive(self, assignment: Assignment) -> bool:
        """Tell Colab that a runtime is in use; False when this plane does not know how to.

        Raises:
            errors.NotFoundError: it says that there is no such runtime, which only a listing can confirm.
        """

    def propagate(self, endpoint: str, grant: Grant, *, dry_run: bool) -> Propagation:
        """Hand the user's Drive or account to the runtime, as far as the user has agreed; `dry_run` only asks."""

    def close(self) -> None:
        """Close its connections."""


# --- refusals -------------------------------------------------------------------------------------------------------


def not_entitled(ask: Ask, said: str = "") -> errors.Error:
    detail = f": {said}" if said else ""
    return errors.NotEntitled(f"this account may not use {ask}{detail}", hint="what it may use: lecoder-cgpu gpus")


def no_capacity(ask: Ask, retry_after: float | None = None) -> errors.Error:
    return errors.CapacityError(
        f"Colab has no free machine for {ask} now",
        name="NoCapacity",
        hint="wait for one with --wait-for-capacity 2h, or allow others: --gpu NAME,NAME",
        retry_after=retry_after,
    )


def none_free(names: list[str], refusals: list[errors.Error]) -> errors.Error:
    """None of several accelerators is free. `refusals`: what was said of each."""
    return errors.CapacityError(
        f"Colab has no free machine for any of {', '.join(names)} now",
        name=refusals[0].name,
        hint=refusals[0].hint,
        retry_after=max(item.retry_after or 0.0 for item in refusals) or None,
    )


def quota_denied(ask: Ask) -> errors.Error:
    return errors.QuotaError(
        f"Colab does not give {ask} to this account now",
        name="QuotaDenied",
        hint="try --cpu or another accelerator, wait some hours, or buy compute units; lecoder-cgpu usage",
    )


def quota_exceeded() -> errors.Error:
    return errors.QuotaError(
        "the account's usage limit is reached",
        name="QuotaExceeded",
        hint="lecoder-cgpu usage shows when it is refilled; compute units can be bought at any time",
    )


def blocked() -> errors.Error:
    return errors.BlockedError(
        "Colab has blocked this account for suspected abuse; nothing that this tool does can change that",
        name="AccountBlocked",
        hint=f"do not try again; how to appeal: {LIMITS}",
    )


def too_many(held: list[Assignment]) -> errors.Error:
    """HTTP 412, which says "too many runtimes" and sometimes means that the usage limit is reached."""
    if held:
        named = ", ".join(f"{item.endpoint} ({item.label})" for item in held)
        first = held[0].endpoint
        error = errors.TooManyRuntimes(
            f"Colab allows this account no further runtime; it holds {len(held)}: {named}",
            hint=f"lecoder-cgpu sessions list shows whose they are; use one: lecoder-cgpu sessions adopt {first} "
            f"--name NAME; or give it back: lecoder-cgpu sessions close {first}",
        )
        error.endpoints = tuple(item.endpoint for item in held)
        return error
    return errors.QuotaError(
        "Colab refused a runtime although the account holds none: its usage limit for GPUs is probably reached",
        name="UsageLimit",
        hint="try --cpu, or wait some hours; lecoder-cgpu usage (a runtime that was closed counts for some minutes)",
    )


def name_sessions(error: BaseException, records: list[Record]) -> None:
    """Have the refusal of one more runtime name the session that holds the first: it need not be taken over."""
    if isinstance(error, errors.TooManyRuntimes):
        names = {record.runtime.endpoint: record.name for record in records}
        name = next((names[endpoint] for endpoint in error.endpoints if endpoint in names), None)
        if name is not None:
            error.hint = f"use what is held: -s {name}; or give it back: lecoder-cgpu sessions close {name}"


def refused(ask: Ask, reason: str) -> errors.Error:
    return errors.QuotaError(
        f"Colab refused {ask} for a reason that this version does not know ({reason})",
        name="Refused",
        hint="lecoder-cgpu usage; or look at https://colab.research.google.com with the same account",
    )
