"""Which certificate authorities connections trust. The module `ssl` is imported when a context is wanted."""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from typing import TYPE_CHECKING

from .. import config, errors

if TYPE_CHECKING:
    import ssl


# Where systems keep all authorities in one file: Debian, Fedora and RHEL, SUSE, Alpine and BSD.
BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


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
    a company has added. Elsewhere OpenSSL's files are the system's, unless Python has an OpenSSL that was built for
    another system: then the system's file is looked for.
    """
    import ssl

    if sys.platform in ("darwin", "win32") and not any(named):
        import truststore

        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = ssl.create_default_context()
    bundle = next(filter(os.path.isfile, BUNDLES), None)
    if bundle is not None and not any(named) and not _finds_authorities():
        context.load_verify_locations(cafile=bundle)
    return context


def _finds_authorities() -> bool:
    """Whether there is something where OpenSSL looks for authorities: its file, or a folder of files that have names
    which it understands."""
    import ssl

    paths = ssl.get_default_verify_paths()
    try:
        named = os.listdir(paths.capath) if paths.cafile is None and paths.capath is not None else ()
    except OSError:
        return False
    return paths.cafile is not None or any(re.fullmatch(r"[0-9a-f]{8}\.\d+", name) for name in named)


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
