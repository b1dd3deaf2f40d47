"""What is suggested, in the library's words: methods and arguments where the command line names commands. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from .. import errors

__all__ = ["by_methods", "reworded"]

_VERBS = ("shows", "tells", "says", "lists", "prints")  # what follows a command in a sentence
_FIELD = re.compile(r"\{(\w+)\}")
_COMMAND = re.compile(r"lecoder-cgpu((?: (?![—–-] )[^\s;,()]+)*)")

# The first words of a command, and what a program does instead. `{1}` is the first argument that is no option.
_METHODS: tuple[tuple[str, str], ...] = (
    ("run --attach", "Session.find_job('{attach}').result()"),
    ("run", "Session.run or Session.shell"),
    ("job wait", "Session.find_job('{1}').wait()"),
    ("job show", "Session.find_job('{1}').show()"),
    ("job result", "Session.find_job('{1}').result()"),
    ("job logs", "Session.find_job('{1}').logs()"),
    ("job kill", "Session.find_job('{1}').kill()"),
    ("job retry", "Session.find_job('{1}').retry()"),
    ("job rm", "Session.find_job('{1}').remove()"),
    ("job list", "Session.jobs()"),
    ("logs show", "Client.find_run('{1}')"),
    ("logs", "Client.history()"),
    ("sessions ensure", "Client.ensure('{1}')"),
    ("sessions create", "Client.ensure('{1}')"),
    ("sessions adopt", "Client.adopt('{1}', NAME)"),
    ("sessions close --all", "Client.close_all()"),
    ("sessions close", "Client.close('{1}')"),
    ("sessions clean", "Client.close(NAME)"),
    ("sessions add", "Client.add_server"),
    ("sessions list", "Client.sessions()"),
    ("sessions", "Client.sessions()"),
    ("status", "Client.status()"),
    ("usage", "Client.usage()"),
    ("gpus", "Client.gpus()"),
    ("kernel restart", "Session.restart()"),
    ("kernel interrupt", "Session.interrupt()"),
    ("kernel list", "Session.kernels()"),
    ("kernel", "Session.kernel()"),
    ("install", "Session.install('{1}')"),
    ("notebook fetch", "Session.fetch_notebook('{1}')"),
    ("notebook run", "Session.run_notebook"),
    ("upload", "Session.upload('{1}')"),
    ("download", "Session.download('{1}')"),
    ("sync", "Session.sync('{1}', REMOTE)"),
    ("ls", "Session.list_files('{1}')"),
    ("rm", "Session.remove_files('{1}')"),
    ("cat", "Session.read_file('{1}')"),
)
_OPTIONS = re.compile(
    r"(?<![\w-])--(gpu|cpu|tpu|high-ram|timeout|idle-timeout|wait|max-output|kernel-name|cwd|key|delete|dry-run"
    r"|wait-for-capacity|idle-release|max-runtime|max-units|backend|auto-install|restarts|retries)\b"
)


def by_methods(said: str) -> str:
    """A sentence in which methods and arguments stand for commands and options. What only a person can do stays."""
    named = reworded(said, _METHODS, lambda command: command)
    return _OPTIONS.sub(lambda found: "the argument " + found[1].replace("-", "_"), named)


def reworded(said: str, table: Sequence[tuple[str, str]], other: Callable[[str], str]) -> str:
    """A sentence in which what the table says stands for commands; `other` is asked about those that are not in it."""
    return _COMMAND.sub(lambda found: _instead(found, table, other), said)


def _instead(found: re.Match[str], table: Sequence[tuple[str, str]], other: Callable[[str], str]) -> str:
    words = found[1].split()
    plain, options = [], {}
    position = 0
    while position < len(words):
        word = words[position]
        if word in ("--session", "-s", "--attach"):
            options[word] = words[position + 1] if position + 1 < len(words) else ""
            position += 2
        elif word in ("--backend", "--profile"):
            position += 2
        else:
            if not word.startswith("-"):
                plain.append(word)
            position += 1
    line = " ".join(plain)
    if "--attach" in options:
        line = "run --attach"
    elif line == "sessions close" and "--all" in words:
        line = "sessions close --all"
    for command, instead in table:
        if line == command or line.startswith(command + " "):
            rest = plain[len(command.split()) :]
            if rest and rest[0] in _VERBS:  # "… sessions list shows when it is gone"
                return " ".join((instead, *rest))
            values = {
                "0": rest[0] if rest else "…",
                "1": rest[0] if rest else "…",
                "attach": options.get("--attach", ""),
            }
            return _FIELD.sub(partial(_value, values), instead)
    return other(found[0])


def _value(values: Mapping[str, str], name: re.Match[str]) -> str:
    return values[name[1]]


errors.Error.reworded = staticmethod(by_methods)
