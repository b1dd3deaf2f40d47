"""The user's secrets, which the client keeps."""

from __future__ import annotations

from . import _message

TIMEOUT = 10.0


class SecretNotFoundError(Exception):
    """The client knows no such secret."""


class NotebookAccessError(Exception):
    """The user has not allowed this notebook to see it."""


class TimeoutException(Exception):
    """The client did not answer."""


def get(key: str) -> str:
    """A secret's value."""
    answer = _message.blocking_request("GetSecret", {"key": key}, timeout_sec=TIMEOUT)
    if answer is None:
        raise TimeoutException(f"requesting secret {key} timed out")
    if not answer.get("exists"):
        raise SecretNotFoundError(f"secret {key} does not exist")
    if not answer.get("access"):
        raise NotebookAccessError(f"notebook does not have access to secret {key}")
    return str(answer.get("payload", ""))
