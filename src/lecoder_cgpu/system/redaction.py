"""Removes secrets from what is written to disk: the debug log and the history.

It knows three kinds: values that were registered, tokens with a recognisable form, and values whose label
(a header, a key, a query parameter) says what they are. Too much is hidden rather than too little.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

import msgspec

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
        r"(?P<head>[?&#](?:token|access_token|refresh_token|id_token|code|key|api_key|client_secret|password|secret)=)"
        r"[^\s&#\"'<>]+",
        re.I,
    ),
    re.compile(
        r"(?P<head>(?:token|secret|passw(?:or)?d|passphrase|(?:api|access|private)_?key)\\*[\"']?\s{0,5}[:=]\s{0,5})"
        r"(?:(?P<open>b?\\*[\"'])[^\"'\r\n]+|[^\s\"'&,;}]+)",
        re.I,
    ),
    re.compile(r"(?P<head>\b(?:Bearer|Basic)\s{1,5})[^\s\"'&,}]{4,}", re.I),
    re.compile(r"(?P<head>\btoken\s{1,5})(?=[^\s]{0,200}[0-9_])[\w.~+/=-]{8,}", re.I),
)


def spellings(secrets: Iterable[str]) -> list[str]:
    """The secrets as they may stand in a text: also percent-encoded and escaped as in JSON, longest first."""
    from urllib.parse import quote, quote_plus

    found = set()
    for secret in filter(None, secrets):
        plain = encodable(secret)
        escaped = msgspec.json.encode(plain).decode()[1:-1]
        found |= {secret, plain, quote(plain, safe=""), quote(plain), quote_plus(plain), escaped}
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
    for pattern in _LABELLED:
        text = pattern.sub(lambda found: found["head"] + (found.groupdict().get("open") or "") + MASK, text)
    return text


def _is_secret_key(key: object) -> bool:
    return isinstance(key, str) and bool(_SECRET_KEY.search(key)) and not _HARMLESS_KEY.search(key)


def encodable(text: str) -> str:
    """Escape lone surrogates, which undecodable arguments contain."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
