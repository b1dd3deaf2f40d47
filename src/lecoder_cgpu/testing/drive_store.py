"""The files of the fake Drive, the queries that find them, and the selection of their fields."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .state import DRIVE, DRIVE_FILE, DRIVE_READONLY, Account, Clock, Grant

FOLDER = "application/vnd.google-apps.folder"
NOTEBOOK = "application/vnd.google.colaboratory"
FIELDS = {
    "kind",
    "id",
    "name",
    "mimeType",
    "createdTime",
    "modifiedTime",
    "size",
    "md5Checksum",
    "webViewLink",
    "headRevisionId",
    "parents",
    "trashed",
    "description",
    "version",
    "owners",
    "capabilities",
}
DEFAULT_FIELDS = ("kind", "id", "name", "mimeType")


class Invalid(Exception):
    """A query, a list of fields or a page token is invalid."""


@dataclass
class File:
    """One file. `client` is the OAuth client that made it, None for the web page."""

    account: Account
    name: str
    mime: str
    content: bytes
    created: float
    modified: float
    client: str | None = None
    parents: list[str] = field(default_factory=lambda: ["root"])
    trashed: bool = False
    description: str = ""
    revision: int = 1
    id: str = field(default_factory=lambda: "1" + secrets.token_urlsafe(24))

    def shown(self) -> dict[str, Any]:
        """All its fields; 64-bit numbers are strings."""
        place = (
            "https://colab.research.google.com/drive/" if self.mime == NOTEBOOK else "https://drive.google.com/file/d/"
        )
        found: dict[str, Any] = {
            "kind": "drive#file",
            "id": self.id,
            "name": self.name,
            "mimeType": self.mime,
            "parents": self.parents,
            "createdTime": moment(self.created),
            "modifiedTime": moment(self.modified),
            "trashed": self.trashed,
            "webViewLink": place + self.id,
            "version": str(self.revision),
            "owners": [{"emailAddress": self.account.email, "me": True}],
            "capabilities": {"canEdit": True},
        }
        if self.mime != FOLDER:
            digest = hashlib.md5(self.content, usedforsecurity=False).hexdigest()
            found |= {"size": str(len(self.content)), "md5Checksum": digest, "headRevisionId": f"r{self.revision}"}
        return found | ({"description": self.description} if self.description else {})


class Drive:
    """All files of all accounts."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.files: dict[str, File] = {}
        self.pages: dict[str, tuple[list[str], str, float]] = {}  # the rest, its request, and when it expires
        self.uploads: dict[str, Any] = {}

    def add(
        self, account: Account, name: str, content: bytes = b"", mime: str = NOTEBOOK, client: str | None = None
    ) -> File:
        """Make a file as the web page does or, with `client`, as an OAuth client does."""
        now = self._clock.now()
        file = File(account, name, mime, content, now, now, client)
        self.files[file.id] = file
        return file

    def write(self, file: File, content: bytes) -> None:
        file.content, file.modified, file.revision = content, self._clock.now(), file.revision + 1

    def visible(self, grant: Grant) -> list[File]:
        """The files that a token may see: with `drive.file`, only those that its client made."""
        everything = bool(grant.scopes & {DRIVE, DRIVE_READONLY})
        own = DRIVE_FILE in grant.scopes
        return [
            file
            for file in self.files.values()
            if file.account is grant.account and (everything or (own and file.client == grant.client))
        ]

    def used(self, account: Account) -> int:
        return sum(len(file.content) for file in self.files.values() if file.account is account)


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- queries ---

TOKENS = re.compile(r"\s*(?:'((?:[^'\\]|\\.)*)'|(!=|<=|>=|=|<|>|\(|\))|([A-Za-z]+))")
Test = Callable[[File], bool]


def query(text: str) -> Test:
    """A query as a predicate: and, or, not, parentheses, and the terms that notebooks need.

    Raises:
        Invalid: it is not understood.
    """
    words = list(_words(text))
    test = _either(words)
    if words:
        raise Invalid(f"q: {words[0][1]}")
    return test


def _words(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    text = text.rstrip()
    while position < len(text):
        found = TOKENS.match(text, position)
        if found is None:
            raise Invalid(f"q: {text[position:]}")
        position = found.end()
        value, sign, word = found.groups()
        yield ("value", re.sub(r"\\(.)", r"\1", value)) if value is not None else ("word", sign or word)


def _take(words: list[tuple[str, str]], *expected: str) -> str:
    if not words or words[0][0] != "word" or (expected and words[0][1] not in expected):
        raise Invalid("q: " + (words[0][1] if words else "it ends too early"))
    return words.pop(0)[1]


def _value(words: list[tuple[str, str]]) -> str:
    if not words or words[0][0] != "value":
        raise Invalid("q: a value in quotes was expected")
    return words.pop(0)[1]


def _either(words: list[tuple[str, str]]) -> Test:
    tests = [_both(words)]
    while words and words[0] == ("word", "or"):
        words.pop(0)
        tests.append(_both(words))
    return lambda file: any(test(file) for test in tests)


def _both(words: list[tuple[str, str]]) -> Test:
    tests = [_term(words)]
    while words and words[0] == ("word", "and"):
        words.pop(0)
        tests.append(_term(words))
    return lambda file: all(test(file) for test in tests)


def _term(words: list[tuple[str, str]]) -> Test:
    if words and words[0][0] == "value":
        parent = _value(words)
        _take(words, "in")
        _take(words, "parents")
        return lambda file: parent in file.parents
    word = _take(words, "(", "not", "trashed", "name", "mimeType")
    if word == "(":
        inner = _either(words)
        _take(words, ")")
        return inner
    if word == "not":
        negated = _term(words)
        return lambda file: not negated(file)
    sign = _take(words, "=", "!=", *(["contains"] if word != "trashed" else []))
    if word == "trashed":
        wanted = (_take(words, "true", "false") == "true") is (sign == "=")
        return lambda file: file.trashed is wanted
    value = _value(words)
    if sign == "contains":
        return lambda file: _contains(file.name if word == "name" else file.mime, value)
    return lambda file: ((file.name if word == "name" else file.mime) == value) is (sign == "=")


def _contains(text: str, part: str) -> bool:
    """Matches beginnings of words only, whatever separates the words."""
    have = re.findall(r"\w+", text.lower())
    want = re.findall(r"\w+", part.lower())
    return (
        any(
            have[at : at + len(want) - 1] == want[:-1] and have[at + len(want) - 1].startswith(want[-1])
            for at in range(len(have) - len(want) + 1)
        )
        if want
        else True
    )


# --- fields ---


def fields(text: str) -> dict[str, Any]:
    """A list of fields as a tree: `nextPageToken,files(id,name)`.

    Raises:
        Invalid: it does not end as it began.
    """
    tree: dict[str, Any] = {}
    stack = [tree]
    for name, sign in re.findall(r"\s*([\w*/]*)\s*([,()]?)", text):
        for part in filter(None, name.split("/") if sign != "(" else [name]):
            last = stack[-1].setdefault(part, {})
        if sign == "(":
            stack.append(last)
        elif sign == ")":
            stack.pop()
            if not stack:
                raise Invalid(f"fields: {text}")
    if len(stack) != 1:
        raise Invalid(f"fields: {text}")
    return tree


def select(content: dict[str, Any], tree: dict[str, Any], known: set[str]) -> dict[str, Any]:
    """The selected fields of a document.

    Raises:
        Invalid: a field is asked for that does not exist.
    """
    if "*" in tree:
        return content
    if unknown := tree.keys() - known:
        raise Invalid(f"fields: {', '.join(sorted(unknown))}")
    return {name: value for name, value in content.items() if name in tree}


def ordered(files: list[File], order: str) -> list[File]:
    """The files in the order of `orderBy`.

    Raises:
        Invalid: it names something else than name, createdTime, modifiedTime or folder.
    """
    keys: dict[str, Callable[[File], Any]] = {
        "name": lambda file: file.name.lower(),
        "name_natural": lambda file: file.name.lower(),
        "createdTime": lambda file: file.created,
        "modifiedTime": lambda file: file.modified,
        "folder": lambda file: file.mime != FOLDER,
    }
    for part in reversed([part.split() for part in order.split(",") if part.strip()]):
        if part[0] not in keys or part[1:] not in ([], ["desc"]):
            raise Invalid(f"orderBy: {order}")
        files = sorted(files, key=keys[part[0]], reverse=part[1:] == ["desc"])
    return files
