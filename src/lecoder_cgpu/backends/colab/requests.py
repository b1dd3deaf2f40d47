"""What code on a Colab runtime asks of the web page in front of it, answered without one.

`google.colab` sends `colab_request` messages and blocks until somebody answers (protocol C47): `drive.mount` and
`authenticate_user` want the user's credentials on the runtime, `userdata.get` a secret, other calls JavaScript or the
notebook. Whatever cannot be answered is refused at once, so that no cell hangs.

Consent is in two steps, and neither waits: the code is told to come back, the user agrees in a browser, and the next
call finds the consent given.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ... import errors
from ...jupyter.messages import Message
from ...system import logs
from .control import Control, Grant, Propagation

if TYPE_CHECKING:
    from ...store.session_store import Record

GRANTS: dict[str, Grant] = {"drive": "dfs_ephemeral", "auth": "auth_user_ephemeral"}
_NAMES = {"dfs_ephemeral": "Drive", "auth_user_ephemeral": "your Google account"}
_VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]{0,127}")
_PAGE = re.compile(r"https?://[!-~]{1,2000}")
_WORDS = {grant: name for name, grant in GRANTS.items()}


class Requests:
    """Answers one session's requests.

    Args:
        control: where credentials are handed over.
        record: the session's.
        secrets: what `userdata.get` may have, by name.
        tell: hears what the user has to do.
        may: whether the user agrees, in this session, that code is handed that of the account; see `Backend.responder`.
    """

    def __init__(
        self,
        control: Control,
        record: Record,
        secrets: dict[str, str],
        tell: Callable[[str], None],
        may: Callable[[str, str], bool],
    ) -> None:
        self._control = control
        self._record = record
        self._secrets = secrets
        self._tell = tell
        self._may = may

    def answer(self, message: Message) -> dict[str, Any] | None:
        """The value of the `input_reply` to a `colab_request`; None for those that want no answer."""
        kind, number = message.metadata.get("colab_request_type"), message.metadata.get("colab_msg_id")
        if number is None:
            return None
        request = message.content.get("request")
        reply: dict[str, Any] = {"type": "colab_reply", "colab_msg_id": number}
        try:
            data = self._answer(str(kind), request if isinstance(request, dict) else {})
        except errors.Error as error:
            logs.current().warn("COLAB", f"{kind} was refused: {error.message}")
            return {**reply, "error": f"{error.message}; {error.hint}" if error.hint else error.message}
        return reply if data is None else {**reply, "data": data}

    def _answer(self, kind: str, request: dict[str, Any]) -> Any:
        if kind == "request_auth":
            return self._credentials(str(request.get("authType")))
        if kind == "GetSecret":
            return self._secret(str(request.get("key")))
        raise errors.UsageError(
            f"{kind} needs a notebook in a browser, which is not there",
            hint="leave that call out when the code runs without one",
        )

    def _credentials(self, kind: str) -> None:
        if kind not in _NAMES:
            raise errors.UsageError(
                f"credentials of the kind {kind} are unknown to this version", hint="lecoder-cgpu upgrade --check"
            )
        grant: Grant = kind  # type: ignore[assignment]
        word, what = _WORDS[grant], _NAMES[grant]
        command = f"lecoder-cgpu colab consent {word} --session {shlex.quote(self._record.name)}"
        endpoint = self._record.runtime.endpoint
        found = _ask(self._control, endpoint, grant, dry_run=True)
        if found.success and self._may(word, what):
            found = _ask(self._control, endpoint, grant, dry_run=False)
            if found.success:
                self._tell(
                    f"this runtime was handed credentials for {what}, which code on it asked for: you agreed to that "
                    "for this session, and the account before (https://myaccount.google.com/permissions takes it back)"
                )
                return
        first = command if found.success else f"open {found.consent_url} in a browser, then: {command}"
        self._tell(f"code on this runtime asks for credentials for {what}; to agree: {first}; and run the code again")
        raise errors.AuthError(
            f"consent for {what} is needed", hint=f"to agree: {command}; then repeat the same command"
        )

    def _secret(self, key: str) -> dict[str, Any]:
        if not _VARIABLE.fullmatch(key):  # it becomes part of no advice: people and agents copy that
            self._tell("the code asked for a secret by a name that no variable can have; it was given none")
            return {"exists": False, "access": False, "payload": ""}
        value = self._secrets.get(key)
        if value is None:
            self._tell(f"the code asked for the secret {key}; give it with: run -m kernel --secret {key}")
        return {"exists": value is not None, "access": value is not None, "payload": value or ""}


def propagate(control: Control, endpoint: str, grant: Grant) -> Propagation:
    """Hand credentials to the runtime if the account has agreed, else say where to agree (protocol C48). Never waits.

    Raises:
        errors.ConnectionFailed: Colab answered neither. errors.Error: it could not be asked.
    """
    found = _ask(control, endpoint, grant, dry_run=True)
    return _ask(control, endpoint, grant, dry_run=False) if found.success else found


def _ask(control: Control, endpoint: str, grant: Grant, *, dry_run: bool) -> Propagation:
    found = control.propagate(endpoint, grant, dry_run=dry_run)
    if not found.success and (found.consent_url is None or not _PAGE.fullmatch(found.consent_url)):
        raise errors.UnexpectedAnswer(
            f"Colab neither gave the runtime credentials for {_NAMES[grant]} nor said where to agree",
            hint="sign in at https://colab.research.google.com with this account, then repeat the same command",
        )
    return found
