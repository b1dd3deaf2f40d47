"""What of the user's account a session's runtime may be handed: asked for once per session, and remembered with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import errors

if TYPE_CHECKING:
    from ..backends.protocol import ConsentState
    from ..store.session_store import Record
    from .runtime import SessionRuntime


def agrees(session: SessionRuntime, kind: str, what: str) -> bool:
    """Whether the user has agreed, in this session, that code on its runtime is handed that. A person who is there is
    asked, once.

    Args:
        kind: `drive` or `auth`. what: the same for people.
    """
    stored = session.store.get(session.record.id) or session.record  # another process may have been told meanwhile
    if kind in stored.consents:
        return True
    question = f"Code on the runtime of session {stored.name!r} asks for credentials for {what}. Hand them over? [y/N] "
    if not session.agree(question):
        return False
    remember(session, kind)
    return True


def remember(session: SessionRuntime, kind: str) -> None:
    """Note that the user has agreed."""

    def change(record: Record) -> None:
        if kind not in record.consents:
            record.consents.append(kind)

    session.store.change(session.record.id, change)


def give(session: SessionRuntime, kind: str) -> ConsentState:
    """Agree for this session, and hand the runtime what was agreed to if the account has agreed, too.

    Raises:
        errors.UsageError: there is nothing to agree to. errors.Error: the lender could not be asked.
    """
    remember(session, kind)
    found = session.backend.consent(session.record, kind)
    if found is None:
        raise errors.UsageError(
            f"session {session.record.name!r} is not a Colab runtime, so there is nothing to consent to",
            hint="name one of Colab's with --session NAME: lecoder-cgpu sessions list",
        )
    return found
