"""What a lender's terms restrict on accounts that pay nothing."""

from __future__ import annotations

from .. import errors
from ..backends.protocol import Account, Leased


def is_free(account: Account) -> bool | None:
    """Whether an account is free and has no units; None when the lender does not say."""
    if account.tier is None and account.balance is None:
        return None
    return not account.balance and account.tier in ("free", None)


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
