"""SSH to a Colab machine: its `/colab/ssh` socket carries the byte stream of one SSH connection.

Our side is what OpenSSH calls a ProxyCommand. The public key goes along with the handshake and is valid for that
connection, so a key made for the occasion serves better than anybody's own (protocol C43).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from .. import errors
from ..net.retry import persist
from ..net.websocket import WebSocket
from ..sessions.session import Session
from ..system import atomic_files

CHUNK = 64 << 10
TAKEN_WAIT = 15.0  # seconds within which the machine notices that an earlier connection of ours was cut (protocol C44)
TAKEN_PAUSE = 1.0


def make_key(folder: Path) -> Path:
    """Make an ed25519 key without a passphrase in `folder`. Returns the path of the private half; `.pub` is beside it.

    Raises:
        errors.ConfigError: OpenSSH is not installed, or the folder cannot be written.
    """
    atomic_files.ensure_dir(folder)
    path = folder / "id_ed25519"
    for old in (path, path.with_suffix(".pub")):
        old.unlink(missing_ok=True)
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lecoder-cgpu", "-f", str(path)]
    try:
        subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise missing("ssh-keygen") from None
    except subprocess.CalledProcessError as error:
        raise errors.ConfigError(
            f"no key could be made in {folder}: {error.stderr.decode('utf-8', 'replace').strip()}",
            hint=f"see that {folder} can be written, and has room",
        ) from error
    return path


def missing(program: str) -> errors.ConfigError:
    """The error for a system without OpenSSH."""
    return errors.ConfigError(
        f"{program} is not installed here", name="NoOpenSSH", hint="install OpenSSH, or use: lecoder-cgpu connect"
    )


def connect(session: Session, public_key: str, *, patience: float = TAKEN_WAIT) -> WebSocket:
    """The socket of a new SSH connection to the session's machine.

    Args:
        public_key: one line, as in a `.pub` file.
        patience: seconds to keep asking while another SSH connection is open.

    Raises:
        errors.NotFoundError: that machine offers no SSH. errors.UsageError: it does not take the key.
        errors.AuthError, errors.ConnectionFailed: see `net.http.Http.request`.
    """
    headers = {"X-Colab-Ssh-Pubkey": public_key.strip()}
    try:
        return persist(
            lambda: session.server.open_socket("colab/ssh", headers=headers),
            again=lambda error: TAKEN_PAUSE if error.http_status == 429 and patience > 0 else False,
            attempts=None,
            limit=patience,
        )
    except errors.Error as error:
        raise _refusal(session, error) from error


def _refusal(session: Session, error: errors.Error) -> errors.Error:
    """The error for the status of a refused handshake."""
    name = session.record.name
    match error.http_status:
        case 400:
            return errors.UsageError(
                f"the machine does not take this key: {error.message}",
                name="KeyRefused",
                hint=f"leave out --public-key: lecoder-cgpu ssh {name}",
            )
        case 404:
            return errors.NotFoundError(
                f"the runtime of session {name!r} offers no SSH",
                name="NoSsh",
                hint=f"lecoder-cgpu connect {f'--session {name}' if session.record.owner is None else '--rm'}",
            )
        case 429:
            return errors.CapacityError(
                f"there is another SSH connection to the runtime of session {name!r}, and it allows one",
                name="SshTaken",
                hint="end the other one, then repeat the same command; or: lecoder-cgpu connect",
            )
        case 502:
            return errors.ConnectionFailed(
                "the SSH server of the runtime cannot be reached",
                name="SshUnreachable",
                hint=f"lecoder-cgpu connect --session {name}",
            )
    return error


def bridge(socket: WebSocket, source: int, write: Callable[[bytes], None]) -> None:
    """Carry bytes between a socket and our streams until either ends.

    Args:
        source: the file descriptor to read from.
        write: given the bytes that arrive.
    """

    def send() -> None:
        with contextlib.suppress(errors.ConnectionFailed, OSError):
            while data := os.read(source, CHUNK):
                socket.send(data)
        socket.close()  # ends the other direction, too

    threading.Thread(target=send, daemon=True).start()
    with contextlib.suppress(errors.ConnectionFailed):
        while True:
            frame = socket.receive()
            if frame:
                write(frame.encode() if isinstance(frame, str) else frame)
