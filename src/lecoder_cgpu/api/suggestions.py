"""What is suggested, in the library's words: methods and arguments where the command line names commands. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from .. import errors

__all__ = ["by_methods", "reworded"]

_VERBS = ("shows", "tells", "says", "lists", "prints")  # what follows a command in a sentence
_FIELD = re.compile(r"\{(\w+)\}")
_WORD = r"""(?:"[^"]*"|'[^']*'|[^\s;,()])+"""
_COMMAND = re.compile(rf"lecoder-cgpu(?![\w\[-])((?: (?![—–-] ){_WORD})*)")
_VALUED = ("--session", "-s", "--attach", "--backend", "--profile")

# The first words of a command with options that change it, and what a program does instead. `{1}` is the first argument
# that is no option, `{backend}` the value of one. What nothing stands for stays.
_METHODS: tuple[tuple[str, str], ...] = (
    ("run --attach", "Session.find_job('{attach}').result()"),
    ("run --backend", "Client('{backend}').session().run"),
    ("run", "Session.run or Session.shell"),
    ("job wait", "Session.find_job('{1}').wait()"),
    ("job show", "Session.find_job('{1}').show()"),
    ("job result", "Session.find_job('{1}').result()"),
    ("job logs", "Session.find_job('{1}').logs()"),
    ("job kill", "Session.find_job('{1}').kill()"),
    ("job retry", "Session.find_job('{1}').retry()"),
    ("job rm", "Session.find_job('{1}').remove()"),
    ("job list --all-sessions", "Session.jobs() of each"),
    ("job list", "Session.jobs()"),
    ("logs show", "Client.find_run('{1}')"),
    ("logs", "Client.history()"),
    ("sessions ensure", "Client.ensure('{1}')"),
    ("sessions create", "Client.ensure('{1}')"),
    ("sessions adopt", "Client.adopt('{1}', NAME)"),
    ("sessions close --force", ""),
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
    r"|session|attempt|root|status|category|mode|pull|push|every|sync|wait-for-capacity|idle-release|max-runtime|max-units|backend|auto-install|restarts|retries)\b"
)
_INSTALL = re.compile(r"\bpip install ([\w.,<>=~!\[\]-]+)(?![\w\"'])")
_CHOICE = re.compile(r"(?<![\w-])-s ([\w.-]+)")


def by_methods(said: str) -> str:
    """A sentence in which methods and arguments stand for commands and options. What only a person can do stays."""
    named = _INSTALL.sub(r"Session.install('\1')", said)
    named = _CHOICE.sub(r"Client.session('\1')", reworded(named, _METHODS, lambda command: command))
    return _OPTIONS.sub(lambda found: "the argument " + found[1].replace("-", "_"), named)


def reworded(said: str, table: Sequence[tuple[str, str]], other: Callable[[str], str]) -> str:
    """A sentence in which what the table says stands for commands; `other` is asked about those that are not in it."""
    return _COMMAND.sub(lambda found: _instead(found, table, other), said)


def _instead(found: re.Match[str], table: Sequence[tuple[str, str]], other: Callable[[str], str]) -> str:
    words = re.findall(_WORD, found[1])
    plain: list[str] = []
    options: dict[str, str] = {}
    while words:
        word = words.pop(0)
        if word in _VALUED:
            options[word] = words.pop(0) if words else ""
        elif word.startswith("-"):
            options[word] = ""
        else:
            plain.append(word)
    for command, instead in table:
        first = [word for word in command.split() if not word.startswith("-")]
        if plain[: len(first)] == first and options.keys() >= set(command.split()) - set(first):
            rest = plain[len(first) :]
            if not instead:
                break
            if rest and rest[0] in _VERBS:  # "… sessions list shows when it is gone"
                return " ".join((instead, *rest))
            values = {"0": rest[0] if rest else "…", "1": rest[0] if rest else "…"}
            given = {name.lstrip("-"): value for name, value in options.items()}
            return _FIELD.sub(partial(_value, given | values), instead)
    return other(found[0])


def _value(values: Mapping[str, str], name: re.Match[str]) -> str:
    return values[name[1]]


errors.Error.reworded = staticmethod(by_methods)
