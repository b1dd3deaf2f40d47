"""What a run is given on the command line: code from arguments, files and stdin, variables and secrets."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import errors

LARGEST = 512 << 20  # bytes of a file that is read whole: a script, a notebook, variables


def code(words: list[str], file: str | None) -> tuple[str, str | None]:
    """The Python to run, and the file it came from."""
    if file is not None and words:
        raise errors.UsageError(
            "the code is given twice: with --file and as arguments",
            name="ConflictingOptions",
            hint=f"arguments for the file stand behind --: lecoder-cgpu run -m kernel -f {file} -- ARGUMENTS; "
            f"or leave out --file {file}, or the code",
        )
    if file == "-" or (file is None and words == ["-"]):
        return code_from_stdin(), None
    if file is None:
        if not words:
            if (sent := piped()) is not None:
                return sent, None
            raise errors.UsageError(
                "there is no code to run",
                hint='lecoder-cgpu run -m kernel "print(1)"; of a file: -f FILE; through a pipe: echo "print(1)" | …',
            )
        return "\n".join(words), None
    if file.lower().endswith(".ipynb"):
        raise errors.UsageError(f"{file} is a notebook", name="IsANotebook", hint=f"lecoder-cgpu run {file}")
    return decode(file_content(file), file), file


PIPE_PATIENCE = 10.0  # seconds for the first byte of code on a pipe that nobody named: it may be left open by accident


def piped() -> str | None:
    """What comes through a pipe or a file on our stdin where no code was given; None if nothing does."""
    import select
    import stat

    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError, AttributeError):
        return None
    if not (stat.S_ISFIFO(mode) or stat.S_ISREG(mode)):
        return None
    if sys.platform != "win32" and not select.select([sys.stdin], [], [], PIPE_PATIENCE)[0]:
        return None
    return code_from_stdin() or None


def unread() -> bool:
    """Whether something waits on our stdin, a pipe or a file, which nobody reads. Takes nothing of it, and never waits.

    False on Windows, which does not tell.
    """
    if sys.platform == "win32":
        return False
    import fcntl
    import stat
    import struct
    import termios

    try:
        number = sys.stdin.fileno()
        found = os.fstat(number)
        if stat.S_ISREG(found.st_mode):
            return found.st_size > os.lseek(number, 0, os.SEEK_CUR)
        if not (stat.S_ISFIFO(found.st_mode) or stat.S_ISSOCK(found.st_mode)):
            return False
        waiting: int = struct.unpack("i", fcntl.ioctl(number, termios.FIONREAD, b"\0" * 4))[0]
        return waiting > 0
    except (OSError, ValueError, AttributeError):
        return False


class Unsent:
    """What waits on our stdin and is not sent, because nobody asked for it: it is told once.

    Look at the beginning, when a person can still stop the run, and at its end: who writes may be slower than we are.
    """

    def __init__(self, options: Mapping[str, Any], tell: Callable[[str], None]) -> None:
        wanted = options["forward_stdin"] or any(item.endswith("=-") for item in options["secret"])
        self._tell = None if wanted else tell
        self._how = "a job has none" if options["detach"] else "add --stdin"

    def look(self) -> None:
        if self._tell is not None and unread():
            self._tell(f"stdin is not sent; {self._how}")
            self._tell = None


def code_from_stdin() -> str:
    """All of our stdin, as text."""
    return decode(sys.stdin.buffer.read(), "stdin")


def decode(content: bytes, origin: str) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise errors.UsageError(
            f"{origin} is not text in UTF-8 (byte {error.start} is {content[error.start]:#04x})",
            name="NotText",
            hint="give a Python source file in UTF-8: --file train.py",
        ) from error
    if "\0" in text:
        raise errors.UsageError(
            f"{origin} is a binary file", name="NotText", hint="give a Python source file: --file train.py"
        )
    return text


def file_content(name: str) -> bytes:
    """What a file of this machine holds that somebody named.

    Raises:
        errors.NotFoundError: the file does not exist. errors.UsageError: it cannot be read.
    """
    path = Path(name).expanduser()
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
    except FileNotFoundError:
        from ..files.plan import here

        raise errors.FileNotFound(f"{name}: no such file", hint=here(path)) from None
    except IsADirectoryError:
        raise errors.UsageError(
            f"{name} is a folder", name="IsADirectory", hint=f"name a file in it: ls {name}"
        ) from None
    except OSError as error:
        raise errors.UsageError(
            f"{name} cannot be read: {error.strerror or error}", name="FileNotReadable", hint=f"chmod u+r {name}"
        ) from error
    if len(content) > LARGEST:
        raise errors.UsageError(
            f"{name} has more than {LARGEST >> 20} MiB, or no end",
            name="TooLarge",
            hint=f"data for the runtime goes there as a file: lecoder-cgpu upload {name}",
        )
    return content


def offsets(items: Sequence[str]) -> tuple[int, int]:
    """The values of `--from`: how many bytes of stdout and stderr to pass over."""
    found = {"stdout": 0, "stderr": 0}
    for item in items:
        name, separator, number = item.rpartition("=")
        stream = name if separator else "stdout"
        if stream not in found or not re.fullmatch(r"\d{1,18}", number):
            raise errors.UsageError(
                f"--from {item!r}: not an offset in a stream", hint="--from 1234, or --from stdout=1234 --from stderr=0"
            )
        found[stream] = int(number)
    return found["stdout"], found["stderr"]


def variable(item: str) -> tuple[str, str]:
    """One --env: NAME=VALUE, or NAME with the value that it has here."""
    from .. import config

    name, separator, value = item.partition("=")
    _check_name(name, "--env")
    if separator:
        return name, value
    local = config.environment(name)
    if local is None:
        raise errors.UsageError(
            f"--env {name}: this variable is not set here", hint=f"give a value: --env {name}=VALUE"
        )
    return name, local


def variables(files: Sequence[str], items: Sequence[str]) -> dict[str, str]:
    """The variables of --env-file and --env; the later ones of the same name win, and --env over files."""
    found: dict[str, str] = {}
    for name in files:
        found |= of_file(name, "--env-file")
    return found | dict(variable(item) for item in items)


def secrets(files: Sequence[str], items: Sequence[str]) -> dict[str, str]:
    """The same of --secrets-file and --secret: their values appear nowhere, and these files are not sent."""
    from ..files import withheld
    from ..system import redaction

    found: dict[str, str] = {}
    for name in files:
        found |= {key: value for key, value in of_file(name, "--secrets-file").items() if value}
        withheld.add(name)
    redaction.protect(*found.values(), called_secret=True)
    return found | dict(secret(item) for item in items)


def of_file(name: str, option: str) -> dict[str, str]:
    """The variables of a file of `--env-file` or `--secrets-file`.

    Raises:
        errors.Error: it cannot be read, or a line is not understood; no value is told.
    """
    from .. import config
    from .dotenv import parse

    try:
        text = file_content(name).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise errors.UsageError(
            f"{option} {name}: it is no text in UTF-8", name="NotText", hint="save it as UTF-8"
        ) from None
    return parse(text, name, config.environment)


def secret(item: str) -> tuple[str, str]:
    """One --secret: NAME takes the local variable's value, NAME=- reads it from stdin. Never from the command line."""
    from .. import config
    from ..system import redaction

    name, separator, origin = item.partition("=")
    _check_name(name, "--secret")
    if separator and origin != "-":
        redaction.protect(origin)  # and none so short that hiding it in other words would tell it
        raise errors.UsageError(
            f"--secret {name}: a value on the command line would be visible to everybody",
            name="SecretInArguments",
            hint=f"export {name} and use --secret {name}, or pipe it in with --secret {name}=-",
        )
    value = sys.stdin.readline().rstrip("\r\n") if separator else config.environment(name)
    if not value:
        where = "stdin" if separator else "the local environment"
        raise errors.UsageError(
            f"--secret {name}: no value was found in {where}",
            hint=f"export {name}=VALUE first"
            if not separator
            else f"pipe it in, or export {name} and use --secret {name}",
        )
    redaction.protect(value, called_secret=True)
    return name, value


def check_variables(variables: Mapping[str, str], option: str) -> None:
    """Refuse values that are no UTF-8, for a kernel, which takes text. A process takes any bytes.

    Raises:
        errors.UsageError: it does not show the value, which may be a secret.
    """
    for name, value in variables.items():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise errors.UsageError(
                f"{option} {name}: its value is no UTF-8, and a kernel takes text alone",
                name="NotText",
                hint=f"encode it (base64), and decode it on the runtime; then: {option} {name}",
            ) from None


def check_text(words: Sequence[str], what: str) -> None:
    """Refuse words that are no UTF-8: they travel as text.

    Raises:
        errors.UsageError
    """
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise errors.UsageError(
                f"{what} holds bytes that are not UTF-8: {word.encode('utf-8', 'surrogateescape')!r}",
                name="NotText",
                hint="let the shell of the runtime make them: lecoder-cgpu run \"cat $'\\xe9.txt'\"",
            ) from None


def _check_name(name: str, option: str) -> None:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise errors.UsageError(
            f"{option} {name!r}: this is not the name of a variable", hint=f"{option} NAME, of letters, digits and _"
        )


def line_from_pipe(prompt: str, password: bool) -> str | None:
    """The answer to an `input()`: the next line of our stdin, None at its end."""
    line = sys.stdin.readline()
    return line.rstrip("\n") if line else None
