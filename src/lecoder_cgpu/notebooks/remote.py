"""Notebooks at addresses: read over https, from GitHub's pages too, and read and written in object stores by fsspec
(extra `remote-files`; s3, gs and whatever else fsspec knows, with the credentials of the user's environment)."""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from .. import errors
from ..net import http

T = TypeVar("T")

MOST = 100 << 20  # bytes of a notebook
LIMIT = 120.0  # seconds for reading or writing one
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_GITHUB = re.compile(r"https://(?:colab\.research\.google\.com/github|(?:www\.)?github\.com)/([^/]+/[^/]+)/blob/(.+)")


def is_address(name: str) -> bool:
    """Whether this is an address, and no file of this machine."""
    return _SCHEME.match(name) is not None


def shown(address: str) -> str:
    """An address as it may be printed and kept: without user, password, query and fragment.

    Raises:
        errors.UsageError: (`UnknownAddress`) it is not an address.
    """
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise errors.UsageError(
            f"this address of a notebook makes no sense: {error}",
            name="UnknownAddress",
            hint="give a file, https://…, s3://BUCKET/NAME.ipynb, gs://BUCKET/NAME.ipynb or drive:ID",
        ) from error
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def file_name(address: str) -> str:
    """The last part of the path of an address."""
    from urllib.parse import unquote

    return unquote(urlsplit(address).path.rstrip("/").rpartition("/")[2]) or "notebook.ipynb"


def read(address: str) -> bytes:
    """What is there.

    Raises:
        errors.NotFoundError: nothing is. errors.UsageError: (`TooLarge`) it is more than a notebook can be;
            (`InsecureOrigin`) it is not encrypted; (`UnknownAddress`) nobody knows how to read it. errors.MissingExtra:
            fsspec, or what it needs for this store, is not installed. errors.Error: it cannot be read.
    """
    scheme = address.partition(":")[0].lower()
    if scheme not in ("http", "https"):
        return _within(lambda: _read_store(address), address)
    if scheme == "http" and not http.is_loopback(address):
        raise errors.UsageError(
            f"{shown(address)} is not encrypted, so anybody on the way could put other code in its place",
            name="InsecureOrigin",
            hint=f"https{shown(address)[4:]}, or download it yourself and give the file",
        )
    found = _GITHUB.fullmatch(address.partition("?")[0].partition("#")[0])
    source = f"https://raw.githubusercontent.com/{found[1]}/{found[2]}" if found else address
    return _bounded(_within(lambda: http.fetch(source, most=MOST, timeout=LIMIT), address), address)


def check_writable(address: str) -> None:
    """Refuse an address to which nothing can be written, before anything is run.

    Raises:
        errors.UsageError: (`NotWritable`) it is a web page. errors.MissingExtra: see `read`.
    """
    if address.partition(":")[0].lower() in ("http", "https"):
        raise errors.UsageError(
            f"{shown(address)}: nothing can be written to an address of the web",
            name="NotWritable",
            hint="give a file to -o, or an address such as s3://BUCKET/NAME.ipynb or gs://BUCKET/NAME.ipynb",
        )
    _within(lambda: _store(address), address)


def write(address: str, content: bytes) -> None:
    """Put it there, in place of what was there.

    Raises:
        errors.ConfigError: (`NotebookNotWritten`) it cannot be written.
    """
    try:
        _within(lambda: _write_store(address, content), address)
    except errors.Error as error:
        raise errors.ConfigError(
            f"{shown(address)}: the notebook cannot be written: {error.message}",
            name="NotebookNotWritten",
            hint="give another file to -o; check the credentials in the environment",
        ) from error


def _store(address: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError:
        raise errors.MissingExtra(
            f"{shown(address)} is read and written by fsspec, which is not installed",
            hint="pip install 'lecoder-cgpu[remote-files]'",
        ) from None
    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(address)
        return found
    except ImportError as error:  # it knows the kind of address, and lacks the library for it
        raise errors.MissingExtra(
            f"{shown(address)}: {error}", hint="pip install 'lecoder-cgpu[remote-files]', or what is named"
        ) from error
    except ValueError as error:
        raise errors.UsageError(
            f"{shown(address)} is no address that can be read: {error}",
            name="UnknownAddress",
            hint="give a file, https://…, s3://BUCKET/NAME.ipynb, gs://BUCKET/NAME.ipynb or drive:ID",
        ) from error


def _read_store(address: str) -> bytes:
    store, path = _store(address)
    with store.open(path, "rb") as file:
        content: bytes = file.read(MOST + 1)
    return _bounded(content, address)


def _write_store(address: str, content: bytes) -> None:
    store, path = _store(address)
    store.pipe_file(path, content)


def _bounded(content: bytes, address: str) -> bytes:
    if len(content) > MOST:
        raise errors.UsageError(
            f"{shown(address)} is larger than {MOST >> 20} MiB, the most that is read as a notebook",
            name="TooLarge",
            hint="download it yourself and give the file",
        )
    return content


def _within(action: Callable[[], T], address: str) -> T:
    """The action's value, if there is one in time. Stores have no limits of their own, so it is left behind then."""
    answers: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def act() -> None:
        try:
            answers.put((action(), None))
        except BaseException as error:  # raised again below
            answers.put((None, error))

    threading.Thread(target=act, name="remote-notebook", daemon=True).start()
    try:
        value, failed = answers.get(timeout=LIMIT)
    except queue.Empty:
        raise errors.ConnectionFailed(
            f"{shown(address)} did not answer within {LIMIT:.0f} seconds", name="NoAnswer", hint="try again later"
        ) from None
    if failed is None:
        return value  # type: ignore[return-value]
    if isinstance(failed, errors.Error):
        raise failed
    if isinstance(failed, FileNotFoundError):
        raise errors.NotFoundError(
            f"there is nothing at {shown(address)}", name="NoSuchNotebook", hint="check the address"
        ) from failed
    if isinstance(failed, Exception):  # of all kinds: each store has its own
        raise errors.ConfigError(
            f"{shown(address)}: {type(failed).__name__}: {failed}"[:500],
            name="StoreFailed",
            hint="check the address, and the credentials in the environment",
        ) from failed
    raise failed
