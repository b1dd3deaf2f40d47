"""Scripts that a command names and that cannot be where it looks for them: found before a runtime is started for it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from .. import errors
from ..system import redaction
from .script_files import is_script

SHELLS = ("bash", "sh")
PYTHONS = ("python", "python3")
_ENDINGS = (".py", ".pyw", ".sh")
_THERE = ("nvidia-smi", "tpu-info", "gcloud", "gsutil", "python", "python3", "pip")  # programs of Colab's machines
_SPECIAL = re.compile(r"[;&|<>$`(){}*?~\n]")  # of a shell: a line that has one is not looked into


def named(words: Sequence[str], *, kernel: bool) -> str | None:
    """The script that a command executes, by a path that leads out of no working folder; None if it names none."""
    words = list(words)
    if len(words) == 1 and not kernel and " " in words[0]:
        try:
            words = [] if _SPECIAL.search(words[0]) else shlex.split(words[0])
        except ValueError:
            return None
    if words and not kernel and words[0] in (*PYTHONS, *SHELLS):
        words = words[1:]
        while words and words[0].startswith("-") and words[0] not in ("-m", "-c", "-"):
            words = words[1:]
    elif len(words) > 1 and kernel:
        return None
    if not words or not words[0].lower().endswith(_ENDINGS) or re.search(r"\s", words[0]) or _SPECIAL.search(words[0]):
        return None
    path = PurePosixPath(words[0])
    return None if path.is_absolute() or ".." in path.parts else words[0]


def near(name: str, folder: str) -> str | None:
    """The script in a local folder, or below the path that a name has there, which is probably meant."""
    import difflib

    place = Path(folder).expanduser() / name
    try:
        there = [item.name for item in place.parent.iterdir() if item.suffix.lower() in _ENDINGS and item.is_file()]
    except OSError:
        return None
    found = difflib.get_close_matches(place.name, there, n=1)
    return os.path.join(os.path.dirname(name), found[0]) if found else None


def check_kind(words: Sequence[str], tpu: str | None) -> None:
    """Refuse a single word behind `--tpu` that is no program known here: it is rather a kind of TPU, misspelt, and
    would be executed as a command on a TPU that costs.

    Args:
        tpu: the value of `--tpu`; `any` where none was given.

    Raises:
        errors.UsageError
    """
    import shutil

    if tpu != "any" or len(words) != 1 or not re.fullmatch(r"[A-Za-z][\w-]*", words[0]):
        return
    if words[0] in _THERE or shutil.which(words[0]) is not None:
        return
    raise errors.UsageError(
        f"{words[0]!r} is no kind of TPU, nor a program that is known here",
        name="UnknownAccelerator",
        hint="kinds: --tpu v5e-1, --tpu v6e-1 (lecoder-cgpu gpus); a command there: "
        f"lecoder-cgpu run --tpu -- {words[0]}",
    )


def check(words: Sequence[str], sync: str | None, *, kernel: bool = False, sweep: bool = False) -> None:
    """Refuse a command for a new runtime that executes a script which cannot be there: nothing sends it.

    Args:
        sync: the local folder that is sent.
        sweep: whether it is the command of a sweep, which has no other way to send it.

    Raises:
        errors.NotFoundError: it says what was probably meant.
    """
    name = named(words, kernel=kernel)
    if name is None:
        return
    anyhow = "" if sweep else "; if it is there after all, put -- before the command"
    if not Path(sync or ".", name).expanduser().exists():
        meant = near(name, sync or ".")
        guess = "" if meant is None else f"did you mean {meant}? "
        raise errors.FileNotFound(
            f"{name}: there is no such file {'here' if sync is None else f'in {sync}'}, nor on a new runtime",
            hint=f"{guess}see what is there: ls {sync or '.'}{anyhow}",
        )
    if sync is not None:
        return
    rest = [*words] if len(words) > 1 or kernel else shlex.split(words[0])
    shown = shlex.join(redaction.words(rest[rest.index(name) :]))
    alone = "" if sweep or not is_script(name) else f", or send the script alone: lecoder-cgpu run {shown}"
    raise errors.FileNotFound(
        f"{name} is on this machine, and a new runtime does not have it",
        hint=f"send its folder: add --sync .{alone}{anyhow}",
    )
