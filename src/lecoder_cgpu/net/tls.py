"""Which certificate authorities connections trust. The module `ssl` is imported when a context is wanted."""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING

from .. import config, errors

if TYPE_CHECKING:
    import ssl


def context(ca: str | None = None) -> ssl.SSLContext:
    """What TLS connections trust: the system's authorities, or SSL_CERT_FILE, and those in the file `ca`.

    Raises:
        errors.ConfigError: the file holds none.
    """
    import ssl

    named = config.environment("SSL_CERT_FILE"), config.environment("SSL_CERT_DIR")
    if ca is None:
        return _shared_context(named)
    context = _system_context(named)
    try:
        context.load_verify_locations(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise errors.ConfigError(
            f"{ca} holds no certificate authority that can be read: {error}",
            hint="give a file of certificates in PEM form to lecoder-cgpu sessions add … --ca FILE",
        ) from error
    return context


def _system_context(named: tuple[str | None, str | None]) -> ssl.SSLContext:
    """What the system trusts. On macOS and Windows that is asked of the system itself, which knows the authorities that
    a company has added; elsewhere OpenSSL's files are the system's."""
    import ssl

    if sys.platform in ("darwin", "win32") and not any(named):
        import truststore

        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return ssl.create_default_context()


# All authorities of a system take 20 ms to read, and one command speaks to several hosts.
_shared_context = cache(_system_context)


@cache
def _trusting_nobody() -> ssl.SSLContext:
    """For an address without TLS, whose client asks for a context all the same."""
    import ssl

    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def context_for(url: str, ca: str | None) -> ssl.SSLContext:
    """What a client of one address, which follows no redirection, trusts."""
    return _trusting_nobody() if ca is None and url.startswith("http:") else context(ca)
