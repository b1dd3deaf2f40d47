"""The system's keyring, where a login's refresh token can be kept instead of in a file.

The package `keyring` knows the keyrings of macOS, Windows and the Linux desktops; it is an extra. A keyring may ask its
owner to unlock it and wait for that, so every call has a limit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from .. import errors

T = TypeVar("T")

SERVICE = "lecoder-cgpu"
PATIENCE = 60.0  # seconds that a call may take: somebody may have to type the keyring's password
IN_A_FILE = "keep the login in a file: lecoder-cgpu auth login --no-keyring --force"


def check() -> None:
    """Prove that a secret can be kept here, before one depends on it.

    Raises:
        errors.ConfigError: it cannot.
    """
    name, value = "check", "lecoder-cgpu auth login --keyring"
    write(name, value)
    if read(name) != value:
        raise errors.ConfigError(
            "the system's keyring does not give back what it was given", name="KeyringFailed", hint=IN_A_FILE
        )
    delete(name)


def read(name: str) -> str | None:
    """The secret of that name; None if the keyring has none.

    Raises:
        errors.ConfigError: the keyring cannot be used.
    """
    keyring = _keyring()
    found: str | None = _call(lambda: keyring.get_password(SERVICE, name))
    return found


def write(name: str, secret: str) -> None:
    """Keep a secret under that name. Raises as `read`."""
    keyring = _keyring()
    _call(lambda: keyring.set_password(SERVICE, name, secret))


def delete(name: str) -> None:
    """Forget the secret of that name, if there is one. Raises as `read`."""
    keyring = _keyring()
    if read(name) is not None:
        _call(lambda: keyring.delete_password(SERVICE, name))


def _keyring() -> Any:
    try:
        import keyring
    except ImportError:
        raise errors.MissingExtra(
            "the system's keyring is used through the package keyring, which is not installed",
            hint="pip install 'lecoder-cgpu[keyring]'",
        ) from None
    return keyring


def _call(what: Callable[[], T]) -> T:
    """What the keyring answers. Its own errors have many classes, each backend adds some."""
    answers: list[T] = []
    failures: list[Exception] = []

    def call() -> None:
        try:
            answers.append(what())
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=call, name="keyring", daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if answers:
        return answers[0]
    problem = (
        f"{type(failures[0]).__name__}: {failures[0]}" if failures else f"it did not answer within {PATIENCE:.0f} s"
    )
    raise errors.ConfigError(
        f"the system's keyring cannot be used: {problem}",
        name="KeyringFailed",
        hint=f"unlock it and repeat the command, or {IN_A_FILE}",
    )
