"""Removes secrets from what is written: the debug log, the history, messages, commands in lists.

It knows three kinds: values that this process has met (`protect`), tokens with a recognisable form, and values whose
label (a header, a key, a query parameter, an option) says what they are. Too much is hidden rather than too little.

Whoever reads or makes a secret calls `protect`, and every writer asks here; nobody hands secrets around to hide them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec

from . import password_flags

SHORTEST_LINE = 6  # characters of a line of a secret that is hidden alone
SHORTEST_BETRAYED = 8  # characters of a value that its label betrays, where it is hidden without the label
SHORTEST_NAME = 16  # the same where it may be no more than the name of a user
MASK = "***"

_SECRET_KEY = re.compile(
    r"token|secret|passw(?:or)?d|passphrase|authorization|cookie|credential|api[_-]?key|private[_-]?key|^auth$", re.I
)
_HARMLESS_KEY = re.compile(r"expires|token_?count|max_?tokens", re.I)

# Tokens that are recognised by their form, wherever they stand.
_KNOWN = re.compile(
    r"(?<![A-Za-z0-9])(?:ya29\.[\w.-]+|1//0[\w-]{10,}|GOCSPX-[\w-]+|hf_[A-Za-z0-9]{8,}|sk-[A-Za-z0-9_-]{16,}"
    r"|gh[pousr]_[A-Za-z0-9]{12,}|github_pat_\w{12,}|(?:AKIA|ASIA)[0-9A-Z]{12,}|AIza[\w-]{20,}"
    r"|eyJ[\w-]{8,2000}\.[\w-]+\.[\w-]*)"
    r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)",
    re.S,
)
# How options end whose value is a secret.
_OPTIONS = r"token|secret|passw(?:or)?d|passphrase|pass|[_-]pwd?|auth|bearer|cookies?|api[_-]?key|credentials?"
# Values that are recognised by the label before them. Repetitions before a fixed part are bounded: text may be large.
_LABELLED = (
    # A header runs to the closing quote, or without one to the end of the line: cookies and digests have several parts.
    re.compile(
        r"(?P<head>\b(?:authorization|cookie|set-cookie|x-goog-colab-token|x-colab-runtime-proxy-token)"
        r"(?:\\*[\"']?\s{0,5}[:=]|\\*[\"']\s{0,5},)\s{0,5})(?:(?P<open>[\[(]?b?\\*[\"'])[^\"'\r\n]*|[^\s\"'][^\r\n]*)",
        re.I,
    ),
    re.compile(r"(?P<head>(?<=://))[^\s/?#\"'<>]+(?=@)"),
    re.compile(
        r"(?P<head>[?&#](?:token|access_token|refresh_token|id_token|code|key|api_key|client_secret|password|secret"
        r"|sig|signature|x-(?:amz|goog)-(?:signature|credential|security-token))=)"
        r"[^\s&#\"'<>]+",
        re.I,
    ),
    re.compile(
        r"(?P<head>(?:token|secret|passw(?:or)?d|passphrase|(?:_|\b)pass|(?:_|\b)pw|(?:api|access|private|account|shared)[_-]?key)"
        r"\\*[\"']?\s{0,5}[:=]\s{0,5})"
        r"(?:(?P<open>b?\\*[\"'])[^\"'\r\n]+|[^\s\"'&,;}]+)",
        re.I,
    ),
    # An option and its value; one that ends in -stdin has none.
    re.compile(
        rf"(?P<head>(?<![\w-])(?!--?secret\s)--?[\w-]{{0,40}}(?:{_OPTIONS})(?:\s{{1,5}}|=))"
        r"(?:(?P<open>\\*[\"'])[^\"'\r\n]+|[^\s\"'-][^\s\"']*)",
        re.I,
    ),
    # A name and a password in one word.
    re.compile(r"(?P<head>(?<![\w-])(?:-u|--(?:proxy-)?user)[\s=]{1,5}\\*[\"']?[^\s:\"']{1,100}:)[^\s\"']+"),
    re.compile(r"(?P<head>(?<![\w-])--secret[\s=]{1,5}\w{1,200}=)(?!-(?:\s|$))[^\s\"']+"),
    re.compile(r"(?P<head>\b(?:Bearer|Basic)\s{1,5})[^\s\"'&,}]{4,}", re.I),
    re.compile(r"(?P<head>\btoken\s{1,5})(?=[^\s]{0,200}[0-9_])[\w.~+/=-]{8,}", re.I),
)


# What stands behind a label, and is a word, a name in a program, or a part of one.
_ORDINARY = re.compile(r"^[A-Za-z_.]+$|[()\[\]{}$\\]")
_OPTION = re.compile(rf"--?[\w-]*(?:{_OPTIONS})", re.I)
_USER = re.compile(r"-u|--(?:proxy-)?user")
SHORTEST = 6  # characters of a secret that is protected without being called one: shorter ones are ordinary words

_protected: set[str] = set()
_called_secret: set[str] = set()
_spelled: list[str] = []


def protect(*secrets: object, called_secret: bool = False) -> None:
    """Never write these values again, in this process.

    Args:
        called_secret: the user has called them secrets, so that they are hidden however short they are.
    """
    if called_secret:
        _called_secret.update(secret for secret in secrets if isinstance(secret, str))
    for secret in secrets:
        if isinstance(secret, str) and len(secret) >= (1 if called_secret else SHORTEST) and secret not in _protected:
            _protected.add(secret)
            _spelled.clear()


def is_called_secret(value: str) -> bool:
    """Whether the user has called this a secret in this process."""
    return value in _called_secret


def known() -> list[str]:
    """All values that were protected, as `spellings`."""
    if _protected and not _spelled:
        _spelled.extend(spellings(_protected))
    return _spelled


def without_known(text: str) -> str:
    """A message for people without the values that this process knows to be secret, but for those of one or two
    characters: they are in every number, and a message with holes tells more of them than one without."""
    for secret in known():
        if len(secret) > 2:
            text = text.replace(secret, MASK)
    return text


def hide(text: str, protected: Collection[str] = ()) -> str:
    """A command as lists and the history may show it: without known secrets, and without those that an option, a
    variable's name or an address betrays."""
    text = mask(text, [*protected, *known()])
    for pattern in (*_LABELLED, *password_flags.patterns(text)):
        text = pattern.sub(_only_the_head, text)
    return text


def betrayed(text: str) -> list[str]:
    """The values that an option, a variable's name or an address betrays in a command, for whoever keeps what the
    command prints: a program repeats them without their labels."""
    found: set[str] = set()
    for pattern in (*_LABELLED, *password_flags.patterns(text)):
        for match in pattern.finditer(text):
            value = match[0][len(match["head"] + (match.groupdict().get("open") or "")) :].strip("\"'")
            name = match["head"] == "" and ":" not in value
            last = re.split(r"[\s:]", value)[-1]
            shortest = SHORTEST_NAME if name else SHORTEST_BETRAYED
            found |= {part for part in (value, last) if len(part) >= shortest and not _ORDINARY.search(part)}
    return sorted(found)


def words(command: Sequence[str]) -> list[str]:
    """The words of a command line, as `hide` has them when they stand in one text."""
    shown = [hide(word) for word in command]
    for position, word in enumerate(command[:-1]):
        follows = command[position + 1]
        if _OPTION.fullmatch(word) and not follows.startswith("-") and not (word == "--secret" and "=" not in follows):
            shown[position + 1] = follows.partition("=")[0] + "=" + MASK if word == "--secret" else MASK
        elif _USER.fullmatch(word) and ":" in follows:
            shown[position + 1] = follows.partition(":")[0] + ":" + MASK
    for position, told in password_flags.hidden(command, MASK).items():
        shown[position] = told
    return shown


def _only_the_head(found: re.Match[str]) -> str:
    return found["head"] + (found.groupdict().get("open") or "") + MASK


def spellings(secrets: Iterable[str]) -> list[str]:
    """The secrets as they may stand in a text: also percent-encoded, escaped as in JSON or Python, or one line of
    several; longest first."""
    import json
    from urllib.parse import quote, quote_plus

    found = set()
    for secret in filter(None, secrets):
        plain = encodable(secret)
        escaped = msgspec.json.encode(plain).decode()[1:-1]
        found |= {secret, plain, quote(plain, safe=""), quote(plain), quote_plus(plain), escaped}
        found |= {json.dumps(secret)[1:-1], repr(secret)[1:-1], ascii(secret)[1:-1]}
        found |= {line for line in plain.splitlines() if len(line) >= SHORTEST_LINE}
    return sorted(found, key=lambda item: (-len(item), item))


def mask(text: str, protected: Collection[str] = ()) -> str:
    """`text` without these secrets (as from `spellings`) and without tokens that are known by their looks."""
    for secret in protected:
        text = text.replace(secret, MASK)
    return _KNOWN.sub(MASK, text)


def redact(value: Any, protected: Collection[str] = ()) -> Any:
    """`value` as plain JSON, with all that is or looks like a secret replaced by `***`, however deep it sits.

    What JSON does not know becomes text first, so that nothing hides in an object. `protected` is from `spellings`.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, dict):
        return {
            redact(str(key), protected): MASK if item and _is_secret_key(key) else redact(item, protected)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redact(item, protected) for item in value]
    text = encodable(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))
    text = mask(text, protected)
    if isinstance(value, (int, float)):
        return value if text == str(value) else text
    for pattern in (*_LABELLED, *password_flags.patterns(text)):
        text = pattern.sub(_only_the_head, text)
    return text


def _is_secret_key(key: object) -> bool:
    return isinstance(key, str) and bool(_SECRET_KEY.search(key)) and not _HARMLESS_KEY.search(key)


def encodable(text: str) -> str:
    """Escape lone surrogates, which undecodable arguments contain."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def all_encodable(value: Any) -> Any:
    """The same of every text in plain JSON; a byte that is no UTF-8 becomes `\\xff`."""
    if isinstance(value, dict):
        return {all_encodable(key): all_encodable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [all_encodable(item) for item in value]
    return re.sub(r"\\udc([89a-f][0-9a-f])", r"\\x\1", encodable(value)) if isinstance(value, str) else value
