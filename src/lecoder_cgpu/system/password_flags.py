"""How programs that people run are told a password: `mysql -pX`, `curl -u NAME:X`, `redis-cli -a X`, `wandb login X`.

One table, for commands that are one text and for those that are words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple


class _Told(NamedTuple):
    """A way of telling a password.

    Attributes:
        programs: their names, as a pattern. flag: what stands before it.
        forms: `joined` to the flag in one word, or `apart` as the next one.
        behind: only what follows this sign in the value is secret.
    """

    programs: str
    flag: str
    forms: tuple[str, ...] = ("joined", "apart")
    behind: str = ""


_TOLD = (
    _Told(r"mysql\w*|mariadb[\w-]*|mycli|7z\w?|rar|unrar", "-p", ("joined",)),  # apart, it is the next argument
    _Told(r"sshpass|mongo\w*|twine|snowsql|login", "-p"),
    _Told(r"sqlcmd|bcp|isql|unzip|zip", "-P"),
    _Told(r"redis-cli|valkey-cli", "-a"),
    _Told(r"ldap\w+", "-w"),
    _Told(r"openssl", "-k", ("apart",)),
    _Told(r"curl", "-b"),
    _Told(r"curl", "-u", ("joined",), ":"),
    _Told(r"curl", "-U", behind=":"),
    _Told(r"https?|xh", "-a", behind=":"),
    _Told(r"smbclient|smbget|winexe|rpcclient", "-U", behind="%"),
    _Told(r"sqlplus", r"[^\s/@]{1,60}/", ("joined",)),
    _Told(r"htpasswd", r"-\w{0,5}b\w{0,5}(?:\s{1,5}\S{1,200}){2}", ("apart",)),
    _Told(r"wandb|vault", "login", ("apart",)),
    _Told(r"aws", r"set\s{1,5}[\w.]{0,60}(?:secret|token)[\w.]{0,60}", ("apart",)),
    _Told(r"kaggle", r"key\s{1,5}-v", ("apart",)),
)
_VALUE = r"(?:(?P<open>\\*[\"'])[^\"'\r\n]+|(?!-)[^\s\"';|&]+)"


@cache
def _pattern(told: _Told) -> re.Pattern[str]:
    space = r"\s{0,5}" if len(told.forms) == 2 else r"\s{1,5}" if "apart" in told.forms else ""
    name = rf"\\*[\"']?[^\s{told.behind}\"']{{1,100}}{told.behind}" if told.behind else ""
    words = r"(?:[^\r\n;|&]{0,300}?\s)??"
    head = rf"(?<![\w.-])(?:{told.programs})\s{words}(?P<quoted>\\*[\"'])?{told.flag}{space}{name}"
    return re.compile(rf"(?P<head>{head})(?(quoted)[^\"'\r\n]+|{_VALUE})")


# What each table's line begins with, without the part of a program's name that may vary.
_STEMS = tuple((told, re.findall(r"(?:^|\|)([\w-]+?)(?=\w\?|[\\|\[]|$)", told.programs)) for told in _TOLD)


def patterns(text: str) -> Iterator[re.Pattern[str]]:
    """How passwords are told to the programs that the text may name.

    Each is compiled when it is first needed: all of them take longer than most modules to import.
    """
    return (_pattern(told) for told, stems in _STEMS if any(stem in text for stem in stems))


def hidden(command: Sequence[str], mask: str) -> dict[int, str]:
    """Which words of a command hold a password, by their position, and how each may be shown."""
    found: dict[int, str] = {}
    active: list[_Told] = []  # whose program stands before the word
    for position, word in enumerate(command):
        follows = command[position + 1] if position + 1 < len(command) else ""
        announced = " ".join(command[max(position - 2, 0) : position + 1])
        for told in active:
            if (
                "apart" in told.forms
                and follows[:1] not in ("", "-")
                and re.search(rf"(?:^|\s){told.flag}$", announced)
            ):
                found[position + 1] = _shown(told, follows, mask)
            joined = re.match(told.flag, word) if "joined" in told.forms else None
            if joined and len(word) > joined.end():
                found[position] = joined[0] + _shown(told, word[joined.end() :], mask)
        name = re.split(r"[/\\]", word)[-1]
        active += [told for told in _TOLD if told not in active and re.fullmatch(told.programs, name)]
    return found


def _shown(told: _Told, value: str, mask: str) -> str:
    if not told.behind:
        return mask
    name, sign, password = value.partition(told.behind)
    return name + sign + (mask if password else "")
