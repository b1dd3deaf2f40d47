"""What a lender's terms restrict on accounts that pay nothing."""

from __future__ import annotations

from .. import errors
from ..backends.protocol import Account, Backend, Leased

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
