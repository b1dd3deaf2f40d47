"""Which words of the command line are ours and which belong to the remote command. Pure.

Options before the first word of the remote command are ours. What follows it is ours only when all of it is options
that `run` knows; otherwise all of it belongs to the remote command, and `--` settles any doubt. Some refinements keep
the rule from taking what was not meant for us:

* behind a plain word (`ls -s /`, `python3 -c 'print(1)'`) a short option belongs to the remote command, but for
  `-m kernel` and `-m terminal`; behind a word with white space (a whole shell command) it is ours, since such a
  command takes no further arguments;
* in kernel mode the arguments are lines of code, so options of `run` at the end of the line are always ours.

What follows the name of a script of this machine is the script's, whatever it is called, as behind `python train.py`:
but for `--json` as the last word, which every command takes there. It goes to a script that speaks of it. Words of ours
that go elsewhere are told.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from .script_files import calls_us, found, speaks_of_json

# The options of the root command that take a value; the others are flags.
ROOT_VALUES = frozenset({"-s", "--session", "-c", "--config", "--backend", "--profile"})
MODES = ("kernel", "terminal")

# Options of `run`, and whether each takes a value. The command checks this table against its own declaration.
RUN_OPTIONS: Mapping[str, bool] = {
    "-m": True, "--mode": True, "-k": False, "--kernel": False, "-f": True, "--file": True, "--json": False,
    "--events": False, "--raw": False, "--outputs": True, "--timeout": True, "--stdin": False, "--cwd": True,
    "--detach": False, "--background": False, "--key": True, "--name": True, "--attach": True, "--max-output": True,
    "--idle-timeout": True, "--on-finish": True, "--inline": False, "--order": False,
    "--heartbeat": True, "--from": True,
    "--idle-release": True, "--max-runtime": True, "--max-units": True,
    "--wait": True, "--on-disconnect": True, "--sync": True, "--pull": True, "--every": True,
    "--pull-when": True, "--push": True,
    "--restarts": True, "--no-restarts": False, "--retries": True, "--retry-on": True, "--store-secrets": False,
    "--i-understand-free-tier": False,
    "--release": False, "--rm": False,
    "-e": True, "--env": True, "--env-file": True, "--secret": True, "--secrets-file": True,
    "--new-runtime": False, "--tpu": True, "--cpu": False,
    "--gpu": True, "--high-ram": False, "--wait-for-capacity": True, "--kernel-name": True,
    "--hub": True, "--server-profile": True, "--server-option": True,
    "-s": True, "--session": True, "--backend": True, "-c": True, "--config": True,
    "--profile": True,
    "--auto-install": False, "-v": False, "--verbose": False, "--no-input": False, "-h": False, "--help": False,
}  # fmt: skip

_LONG = {
    "-m": "--mode",
    "-k": "--kernel",
    "-f": "--file",
    "-e": "--env",
    "-v": "--verbose",
    "-s": "--session",
    "-c": "--config",
}

# Options of `notebook run` that `run` does not have, for `run NOTEBOOK.ipynb`.
NOTEBOOK_OPTIONS: Mapping[str, bool] = {
    "-p": True, "--parameter": True, "-r": True, "--raw-parameter": True, "-P": True, "--parameters": True, "-o": True,
    "--output": True, "--from-cell": True, "--only": True, "--keep-going": False, "--in-place": False,
    "--restart": False, "-y": True, "--parameters-yaml": True, "-b": True, "--parameters-base64": True,
    "--inject-paths": False, "--prepare-only": False, "--report-mode": False, "--allow-error": True,
    "--cell-timeout": True, "--save-every": True,
}  # fmt: skip
# How notebooks end, and texts that are read as notebooks: a command never does.
NOTEBOOKS = (".ipynb", ".md", ".rmd", ".qmd")
# What a notebook in Drive begins with where a command is expected.
IN_DRIVE = ("drive:", "https://colab.research.google.com/drive/", "https://drive.google.com/")


# The name of a TPU, as people write it: v5e-1, V5E1, v6e, TPU v2-8, v5litepod-1; or `tpu`, which is any. Names of GPUs
# are taken for names, too, and refused later: as commands they would be executed on a TPU that costs.
_GPU = r"[tlg]4|[ahp]100|[hb]200|l40s?|a10g?|k80"
_TPU = rf"(?:tpu|any|(?:tpu[\s_-]*)?v\d(?:[a-z]|lite|litepod)?(?:[\s_-]*\d+)?|trillium|ironwood|{_GPU})"


class Split(NamedTuple):
    """`ours` are options for `run`, `remote` the words of the remote command (or the code).

    `separated`: they are certainly meant for it, because `--` or the name of a script that calls us stands before them.
    `passed`: the names of options that `run` has as well, and that go to the script or program before them.
    """

    ours: list[str]
    remote: list[str]
    separated: bool = False
    passed: tuple[str, ...] = ()


def split_run(arguments: Sequence[str]) -> Split:
    """Divide what follows `run` on the command line."""
    ours: list[str] = []
    position = 0
    while position < len(arguments):
        word = arguments[position]
        if word == "--":
            return Split(ours, list(arguments[position + 1 :]), separated=True)
        if word == "-" or not word.startswith("-"):
            break
        length = option_length(arguments[position:]) or 1  # an unknown option is refused when it is parsed
        ours += arguments[position : position + length]
        position += length
        if word in ("-f", "--file") and length == 2 and calls_us(ours[-1]):
            rest = list(arguments[position:])
            return Split(ours, rest[1:] if rest[:1] == ["--"] else rest, separated=True)
    words = list(arguments[position:])
    if not words:
        return Split(ours, [])
    if not {"-f", "--file"} & set(ours):
        script = found(words[0], _value_of("--sync", ours))
        if script is not None:
            if calls_us(words[0]):
                return Split(ours, words)
            if _ends_with_json(words, ours) and not speaks_of_json(script):
                ours.append(words.pop())
            return Split(ours, words, passed=_names_of_ours(words[1:], ours))
    start = _tail_start(words, kernel=_is_kernel(ours))
    ours += words[start:]
    passed = ("--json",) if not calls_us(words[0]) and _ends_with_json(words[:start], ours) else ()
    return Split(ours, words[:start], passed=passed)


def _value_of(option: str, ours: Sequence[str]) -> str | None:
    """The last value of an option among words of ours."""
    value = None
    for position, word in enumerate(ours):
        if word.startswith(f"{option}="):
            value = word.partition("=")[2]
        elif position and ours[position - 1] == option:
            value = word
    return value


def _ends_with_json(words: Sequence[str], ours: Sequence[str]) -> bool:
    """Whether `--json` is the last word behind a command, neither given to it by `--` nor given to us before."""
    return len(words) > 1 and words[-1] == "--json" and "--" not in words and "--json" not in ours


def _names_of_ours(words: Sequence[str], given: Sequence[str]) -> tuple[str, ...]:
    """The long options of `run` among words for a script, up to `--`, without those that `run` was given before."""
    until = words.index("--") if "--" in words else len(words)
    names = (word.partition("=")[0] for word in words[:until] if word.startswith("--"))
    taken = {word.partition("=")[0] for word in given}
    return tuple(dict.fromkeys(name for name in names if name in RUN_OPTIONS and name not in taken))


def is_notebook(arguments: Sequence[str]) -> bool:
    """Whether what follows `run` names a notebook; then all of it is a command line of `notebook run`."""
    position = 0
    while position < len(arguments):
        word = arguments[position]
        if word == "--":
            return False
        if word == "-" or not word.startswith("-"):
            return _names_notebook(word)
        known = {**RUN_OPTIONS, **NOTEBOOK_OPTIONS}
        position += option_length(arguments[position:], known) or 1
    return False


def _names_notebook(word: str) -> bool:
    """`cat notes.md` in one word is a command; a name with spaces is a notebook's if there is such a file."""
    if word.startswith(IN_DRIVE):
        return True
    return word.lower().endswith(NOTEBOOKS) and (not re.search(r"\s", word) or os.path.exists(word))


def _is_kernel(ours: Sequence[str]) -> bool:
    return any(
        word in ("-k", "--kernel", "--mode=kernel", "-mkernel")
        or (word == "kernel" and position > 0 and ours[position - 1] in ("-m", "--mode"))
        for position, word in enumerate(ours)
    )


def _tail_start(words: Sequence[str], *, kernel: bool) -> int:
    """Where options of ours begin behind the remote command's words; `len(words)` when nowhere."""
    if calls_us(words[0]):
        return len(words)
    if kernel:
        candidates = range(1, len(words) + 1)
        return next(start for start in candidates if _all_ours(words[start:], short=True))
    short = bool(re.search(r"\s", words[0]))
    return 1 if _all_ours(words[1:], short=short) else len(words)


def _all_ours(words: Sequence[str], *, short: bool) -> bool:
    position = 0
    while position < len(words):
        word = words[position]
        length = option_length(words[position:])
        if length is None:
            return False
        names_mode = word == "-m" and position + 1 < len(words) and words[position + 1] in MODES
        if not (short or word.startswith("--") or names_mode):
            return False
        position += length
    return True


def option_length(words: Sequence[str], known: Mapping[str, bool] = RUN_OPTIONS) -> int | None:
    """How many words the option at the front of `words` takes; None when it is not known."""
    name, _, attached = words[0].partition("=")
    if words[0] == "--tpu":
        return tpu_length(words)
    if words[0].startswith("--"):
        takes_value = known.get(name)
        if takes_value is None or (attached and not takes_value):
            return None
        if not takes_value or "=" in words[0]:
            return 1
        return 2 if len(words) > 1 else None
    takes_value = known.get(words[0][:2])
    if takes_value is None:
        return None
    if len(words[0]) > 2:  # -mkernel
        return 1 if takes_value else None
    if not takes_value:
        return 1
    return 2 if len(words) > 1 else None


def spelled_out(ours: Sequence[str]) -> list[str]:
    """Options of `run` with their long names. Click takes a short one for a misspelled long one first, and looks for
    similar ones, which costs a warm run three milliseconds."""
    words: list[str] = []
    while (done := len(words)) < len(ours):
        length = option_length(ours[done:]) or 1
        words += [_LONG.get(ours[done], ours[done]), *ours[done + 1 : done + length]]
    return words


def tpu_length(words: Sequence[str]) -> int:
    """How many words `--tpu` takes: its name may be left out, so the next word is one only if it looks like that."""
    return 2 if len(words) > 1 and re.fullmatch(rf"(?i){_TPU}(,\s*{_TPU})*", words[1]) else 1


def _command(arguments: Sequence[str]) -> tuple[list[str], str, list[str]]:
    """The options before the command, the command ("" where there is none), and what follows it."""
    position = 0
    before: list[str] = []
    while position < len(arguments) and arguments[position].startswith("-"):
        before.append(arguments[position])
        position += 2 if arguments[position] in ROOT_VALUES else 1
    return before, next(iter(arguments[position : position + 1]), ""), list(arguments[position + 1 :])


def watched_run(arguments: Sequence[str]) -> Literal["kernel", "terminal"] | None:
    """Of which kind the run is that a command line starts and watches; None for other command lines."""
    _, command, rest = _command(arguments)
    if command != "run" or is_notebook(rest):
        return None
    ours = split_run(rest).ours
    if {"--detach", "--background", "--help", "-h"} & set(ours):
        return None
    return "kernel" if _is_kernel(ours) else "terminal"


def transfers(arguments: Sequence[str]) -> bool:
    """Whether a command line copies files, and goes on where it ended when it is repeated."""
    return _command(arguments)[1] in ("upload", "copy", "download", "sync")


def _until_a_word(arguments: Sequence[str]) -> list[str]:
    """The options before the first word that is not an option."""
    position = 0
    while position < len(arguments) and arguments[position].startswith("-"):
        position += option_length(arguments[position:], {**RUN_OPTIONS, "--public-key": True}) or 1
    return list(arguments[:position])


def output_mode(arguments: Sequence[str]) -> str:
    """`json`, `events` or `human`: how to answer, known before anything else is parsed and even if parsing fails."""
    ours, command, rest = _command(arguments)
    if command == "run" and not is_notebook(rest):
        ours += split_run(rest).ours
    else:
        rest = _until_a_word(rest) if command == "ssh" else rest  # behind the name, all belongs to OpenSSH
        ours += rest[: rest.index("--")] if "--" in rest else rest
    return "events" if "--events" in ours else "json" if "--json" in ours else "human"
