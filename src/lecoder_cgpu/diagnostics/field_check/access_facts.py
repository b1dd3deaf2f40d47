"""How the runtime is reached: its other ports, the proxy's tokens, and how fast files travel."""

from __future__ import annotations

import base64
import os
import time
from typing import Any

from ... import errors
from ...net import http
from .subject import NAME, PATIENCE, NotSeen, Seen, Subject, parsed, why

RATE_SIZE = 4 << 20  # bytes
STEP = 1 << 20  # bytes of one request
SLOW = 60.0  # seconds for RATE_SIZE: slower lines are too slow for the usual parts
RATE_FILE = f"{NAME}.rate"
SERVE = """
import http.server, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "19")
        self.end_headers()
        self.wfile.write(b"lecoder-field-check")
    def log_message(self, *words):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
threading.Timer(120, server.shutdown).start()
answer = server.server_port
"""


# --- ports ---
def _port(subject: Subject) -> int:
    if not subject.plan.ports:
        raise NotSeen("on a free account Colab's terms restrict forwarded ports")
    found = subject.compute(SERVE)
    if not isinstance(found, int):
        raise NotSeen("the answer makes no sense")
    return found


def port_path(subject: Subject) -> Seen:
    """Whether `/_proxy/PORT/` leads to a port of the machine (protocol C59)."""
    answer = subject.ask("GET", f"_proxy/{_port(subject)}/")
    return _reached(answer, "forward: --via path works")


def port_address(subject: Subject) -> Seen:
    """Whether there are a token and an address for another port, and what answers there (protocol C32)."""
    port, will = _port(subject), "forward: --via proxy works"
    find = subject.session.backend.upstream(subject.session.record)
    if find is None:
        raise NotSeen("it is not asked for here")
    try:
        upstream = find(port)
    except errors.Error as error:
        return Seen(f"no token: {why(error)}", False, "forward: goes through the kernel's channels")
    headers = {**upstream.more, upstream.header: upstream.token}
    try:
        answer = http.exchange("GET", f"{upstream.url}/", headers=headers, timeout=PATIENCE)
    except errors.Error as error:
        return Seen(f"a token; the address: {why(error)}", False, "forward: goes through the kernel's channels")
    return _reached(answer, will)


def _reached(answer: http.Reply, will: str) -> Seen:
    there = answer.status == 200 and answer.data == b"lecoder-field-check"
    text = "reaches the port" if there else f"HTTP {answer.status}"
    return Seen(text, there, will if there else "forward: goes through the kernel's channels")


# --- tokens ---


def token(subject: Subject) -> Seen:
    """How long the proxy's token lives, and what it is (protocol C29, C31)."""
    record = subject.session.record
    proxy = record.runtime.proxy
    if proxy is None or proxy.token is None:
        raise NotSeen("the runtime has none")
    told = proxy.token_expires_in_seconds
    claims = _claims(proxy.token)
    form = "opaque"
    ends, audience = claims.get("exp"), claims.get("aud")
    if isinstance(ends, (int, float)) and not isinstance(ends, bool):
        form = f"a JWT that ends in {ends - time.time():.0f} s"
        form += ", for this runtime" if audience == record.runtime.endpoint else ", for something else"
    text = f"told to live {told:.0f} s; {form}" if told is not None else f"its life is not told; {form}"
    return Seen(text, told == 3600 and form != "opaque", "renews it five minutes before its end, or when it is refused")


def _claims(value: str) -> dict[str, Any]:
    parts = value.split(".")
    if len(parts) != 3:
        return {}
    try:
        return parsed(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return {}


def stale_token(subject: Subject) -> Seen:
    """What an invalid token is answered (protocol C30). Waiting for an old one would take an hour."""
    proxy = subject.session.record.runtime.proxy
    if proxy is None or not proxy.token:
        raise NotSeen("the runtime has none")
    spoiled = proxy.token[:-4] + ("AAAA" if not proxy.token.endswith("AAAA") else "BBBB")
    headers = {name: spoiled if value == proxy.token else value for name, value in subject.endpoint.headers.items()}
    answer = subject.ask("GET", "api/kernels", headers=headers, without=True)
    known = answer.status in (401, 403, 404)
    will = "asks the listing, which renews the token" if known else "takes it for a failure of the server"
    return Seen(f"HTTP {answer.status}", known, will)


def throughput(subject: Subject) -> Seen:
    """How fast files come and go as the tool moves them (protocol C60). What the helper finds out about the way is
    kept with the session."""
    from ...helper.file_documents import Part
    from ...helper.file_service import FileService

    content = os.urandom(RATE_SIZE)
    service = FileService(lambda cause: subject.session.connect_helper(), patience=PATIENCE)
    got: list[bytes] = []
    try:
        service.open()
        half = service.begin(RATE_FILE, len(content), "lecoder-field", f"{time.time_ns():x}")
        began = time.monotonic()
        pieces = ((at, content[at : at + STEP]) for at in range(0, len(content), STEP))
        service.write(half, pieces, lambda number: None)
        up = time.monotonic() - began
        service.commit(half)
        began = time.monotonic()
        parts = [Part(at, STEP) for at in range(0, len(content), STEP)]
        service.read_parts(RATE_FILE, parts, lambda part, piece: got.append(bytes(piece)))
        down = time.monotonic() - began
        folder, _, name = half.path.rpartition("/")
        service.delete(folder, [name])
    except errors.Error as error:
        raise NotSeen(why(error)) from error
    finally:
        service.close()
    whole = b"".join(got) == content
    rates = [f"{len(content) / seconds / 1e6:.1f}" for seconds in (up, down)]
    text = f"{rates[0]} MB/s up, {rates[1]} MB/s down" + ("" if whole else "; not what was sent")
    return Seen(text, whole and max(up, down) < SLOW, "moves files in parts of at most 4 MiB")
