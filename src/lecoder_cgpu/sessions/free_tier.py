"""What a lender's terms restrict on accounts that pay nothing, and what an account can pay."""

from __future__ import annotations

from .. import errors
from ..backends.protocol import Account, Backend, Leased
from ..store import rates
from ..store.session_store import Record

ATTEMPT = 600.0  # seconds that an account must be able to pay before another attempt begins
ONE_AFTER_THE_OTHER = (
    "this account is free: to ask for one free runtime after the other may break the lender's terms, and restrict it"
)


def is_free(account: Account) -> bool | None:
    """Whether an account is free and has no units; None when the lender does not say."""
    if account.tier is None and account.balance is None:
        return None
    return not account.balance and account.tier in ("free", None)


def needs_agreement(backend: Backend) -> bool:
    """Whether the user has to agree before another runtime is asked for in place of a lost one. For an account that
    does not say what it is, nobody has to: asking for a runtime meets the same."""
    if not isinstance(backend, Leased) or backend.restrictions is None:
        return False
    try:
        return is_free(backend.account()) is True
    except errors.Error:
        return False


def refuse_several(backend: Leased | None, hint: str) -> None:
    """Refuse several runtimes at once on a free account, where the lender's terms restrict them.

    Args:
        hint: what to do instead, or how to say that this is known.

    Raises:
        errors.UsageError: (`FreeTier`)
    """
    if backend is None or backend.restrictions is None:
        return
    try:
        account = backend.account()
    except errors.Error:
        return  # asking for a runtime meets the same, and says it
    if is_free(account) is not False:
        raise errors.UsageError(
            "the terms of the lender restrict several free runtimes at once", name="FreeTier", hint=hint
        )


def cannot_pay(account: Account, accelerator: str, rate: float | None) -> str | None:
    """Why an account cannot pay another runtime, as far as that is known.

    Args:
        accelerator: that it would have, `NONE` for none. rate: units an hour that such a runtime costs; None if no such
            one was seen.
    """
    if account.balance is None and (account.free_units is None or account.tier not in ("free", None)):
        return None  # the lender does not say what there is
    if not rate and (rate is not None or accelerator == "NONE"):
        return None  # it costs nothing, or may
    left = max(account.balance or 0.0, 0.0) + max(account.free_units or 0.0, 0.0)
    if left > 0 and (rate is None or left * 3600 >= rate * ATTEMPT):
        return None
    cost = "" if rate is None else f", at {rate:g} units an hour"
    return f"the account has {left:.3g} units left, which do not pay another attempt{cost}"


def short_of_units(backend: Backend, record: Record, known: rates.Rates) -> tuple[str, float | None] | None:
    """Why the account cannot pay another runtime like that of a session, and when it gets more units (Unix time), if
    it says that; None where it can, or nobody knows."""
    if not isinstance(backend, Leased):
        return None
    try:
        account = backend.account()
    except errors.Error:
        return None
    why = cannot_pay(account, record.runtime.accelerator or "NONE", known.get(rates.kind(record)))
    return None if why is None else (why, account.refills_at)
