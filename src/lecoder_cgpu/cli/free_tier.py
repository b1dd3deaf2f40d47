"""What the lender's terms say about free runtimes, told before they are broken by accident.

Colab's restrict remote control such as SSH, and serving through other pages than the notebook's, on runtimes without a
positive balance of compute units, and may end such runtimes without warning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from .. import errors
from ..backends.protocol import Leased
from ..sessions import free_tier
from ..sessions.session import Session
from .app import App

F = TypeVar("F", bound=Callable[..., Any])

OPTION = "--i-understand-free-tier"


def understood_option(function: F) -> F:
    """Add the option with which the user says that this is known."""
    return click.option(OPTION, "understood", is_flag=True, help="Go on although Colab's terms restrict it.")(function)


def check(app: App, session: Session, what: str, understood: bool, command: str) -> None:
    """Refuse what the terms restrict on a free account, unless the user knows; tell where the account is not known.

    Args:
        what: for the message: "SSH", "forwarded ports".
        command: what to type to go on; the option is added if it is not in it.

    Raises:
        errors.UsageError: (`FreeTier`) the account is free and has no units.
    """
    backend = session.backend
    if not isinstance(backend, Leased) or backend.restrictions is None or understood:
        return
    terms = backend.restrictions.format(what=what)
    try:
        account = backend.account()
    except errors.Error as error:
        app.printer.notify(f"{terms}. (The account could not be looked at: {error.message})")
        return
    free = free_tier.is_free(account)
    if free is None:
        app.printer.notify(terms)
    elif free:
        raise errors.UsageError(terms, name="FreeTier", hint=command if OPTION in command else f"{command} {OPTION}")
