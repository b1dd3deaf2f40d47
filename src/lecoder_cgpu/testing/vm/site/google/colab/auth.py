"""The user's Google account, for what runs on the VM."""

from __future__ import annotations

import os

from . import _message


def authenticate_user() -> None:
    """Ask the client to lend the VM the user's account.

    Raises:
        MessageError: the client refused. ValueError: the VM has no credentials all the same.
    """
    if os.environ.get("USE_AUTH_EPHEM") == "1":
        _message.blocking_request("request_auth", {"authType": "auth_user_ephemeral"}, timeout_sec=None)
    elif not input("Enter verification code: "):
        raise ValueError("no code")
    if os.environ.get("USE_AUTH_EPHEM") == "1" and "auth_user_ephemeral" not in _message.ask("/credentials"):
        raise ValueError("authentication failed")
