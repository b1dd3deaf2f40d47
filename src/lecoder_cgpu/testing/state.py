"""The fake's state: its clock, its switches, its accounts, their tokens."""

from __future__ import annotations

import base64
import json
import secrets
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

EMAIL = "https://www.googleapis.com/auth/userinfo.email"
PROFILE = "https://www.googleapis.com/auth/userinfo.profile"
COLAB = "https://www.googleapis.com/auth/colaboratory"
COLAB_READONLY = "https://www.googleapis.com/auth/colaboratory.readonly"
DRIVE = "https://www.googleapis.com/auth/drive"
DRIVE_FILE = "https://www.googleapis.com/auth/drive.file"
DRIVE_READONLY = "https://www.googleapis.com/auth/drive.readonly"
ALIASES = {"email": EMAIL, "profile": PROFILE}
SCOPES = ("openid", EMAIL, PROFILE, COLAB, DRIVE_FILE)

# Compute units an hour; invented, only their order is like the real ones'.
RATES = {"NONE": 0.08, "T4": 1.2, "L4": 2.1, "G4": 5.0, "A100": 6.8, "H100": 12.0, "V5E1": 3.0, "V6E1": 5.0}
GPUS = ("T4", "L4", "G4", "A100", "H100")
TPUS = ("V5E1", "V6E1")
PORT = 8080  # of a VM's Jupyter server
ONE_SHAPE = {"L4", "V28", "V5E1", "V6E1"}  # they exist in one shape only, and are asked for without any

Tier = Literal["FREE", "PRO", "PRO_PLUS"]


class Clock:
    """Google's clock: the real time, plus what was added."""

    def __init__(self) -> None:
        self.offset = 0.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self.offset


@dataclass
class Switches:
    """How strict the fake is, and how it behaves where Google's behaviour is unknown: by default the nasty way."""

    xssi: str = ")]}'\n"  # before JSON of the tunnel, of /vscode and of the VM's /api/colab
    xssi_elsewhere: str = ""  # before JSON of the other hosts
    authuser_required: bool = True
    agent_required: bool = True
    agents: tuple[str, ...] = ()  # the only names that are accepted, when there are any
    xsrf_single_use: bool = True
    xsrf_refused: int = 403
    xsrf_ttl: float = 3600.0
    access_ttl: float = 3599.0
    rotate_refresh_tokens: bool = False
    proxy_ttl: float = 3600.0
    proxy_ttl_said: Any = None  # what answers say instead of the truth
    proxy_exp_skew: float = 0.0  # seconds added to `exp` inside the token, which is not used
    opaque_tokens: bool = False
    other_ports: bool = True  # whether there are proxy tokens for other ports than that of the Jupyter server
    port_paths: bool = False  # whether /_proxy/PORT/ leads to a port of the machine
    stale_status: int = 404  # of a proxy token that is wrong, missing or old; 401 and 403 are seen too
    lost: Literal["alternate", "404", "500", "refused"] = "alternate"  # how the proxy of a lost VM behaves
    cut_on_expiry: bool = True  # whether a socket ends with the token that opened it
    idle_cut: float = 80.0  # real seconds without traffic after which the proxy forgets a socket
    trailing_slash: bool | None = None  # of proxy URLs; None alternates from VM to VM
    lower_case: bool = False  # accelerator names in answers
    empty_assignments: bool = False  # whether an empty listing has its key
    linger: float = 0.0  # seconds that a released VM stays in the listing
    blink: int = 0  # how many of the next listings leave out every VM
    unassign: Literal["works", "fails", "hangs"] = "works"  # on the tunnel; what does not work leaves the VM alive
    keep_alive: Literal["hang", "empty", "html"] = "hang"
    activity: Literal["ping", "socket", "either", "proxy"] = "ping"  # what keeps a VM from being pruned
    idle_limit: float = 480.0
    max_lifetime: float = 12 * 3600.0
    boot_requests: int = 0  # how many requests a new VM answers with `boot_mode`
    boot_seconds: float = 0.0  # for how long it does so, by the virtual clock
    boot_mode: Literal["500", "502", "503", "504", "hang", "refused"] = "500"
    terminals: bool = False  # whether /api/terminals is there
    tty: bool = True  # whether /colab/tty is
    kernels: int | None = None  # how many a VM may have
    kernel_refusal: int = 403  # what the request for one more is answered with
    v1: Literal["ignored", "spoken", "echoed"] = "ignored"  # that subprotocol; echoed: agreed to, and not spoken
    binary: Literal["passes", "swallowed", "closed"] = "passes"  # binary frames of kernel sockets, both ways
    frame_limit: int | None = None  # bytes; a longer frame closes the socket with 1009
    body_limit: int | None = None  # bytes; a longer body is answered with 413
    cut_after: int | None = None  # bytes from the runtime after which the proxy cuts any connection
    cut_silently: bool = False  # whether such a connection stays open and nothing passes on it any more
    latency: float = 0.0  # real seconds that pass before each piece of data is passed on, either way
    repeats: bool = False  # whether every message from a kernel's socket comes twice
    files: Literal["ranges", "whole", "404", "500"] = "ranges"  # what /files does
    contents: bool = True  # whether /api/contents is there
    starting_until_attached: bool = False  # a kernel says `starting` until a socket opens
    private_api: bool = False  # whether the client's project may call the private API
    public_api: bool = True
    drive_api: bool = True
    drive_quota: int | None = None  # bytes
    recaptcha_blocks: bool = True  # what follows `p: true`
    lro_polls: int = 1  # how often an operation of the public API is unfinished when looked at
    consent: Literal["approve", "deny", "wrong_state", "page"] = "approve"
    untick: tuple[str, ...] = ()  # scopes that the user refuses on the consent page
    experiments: dict[str, Any] = field(default_factory=dict)


@dataclass
class Account:
    """One Google account, and what Colab gives it."""

    email: str
    name: str = "Ada Example"
    tier: Tier = "FREE"
    balance: float = 0.0  # paid compute units
    free_tokens: int | None = 50_000  # thousandths of a unit; None when there is no free quota
    refill_at: float | None = None
    eligible_gpus: tuple[str, ...] = ("T4",)
    eligible_tpus: tuple[str, ...] = ("V5E1",)
    high_ram: bool = False
    max_vms: int = 1
    denylisted: bool = False
    outcome: int | None = None  # refuse every assignment with this
    recaptcha: bool = False
    out_of_stock: set[str] = field(default_factory=set)
    consented: set[str] = field(default_factory=set)  # auth types that the user has agreed to in a browser
    id: str = field(default_factory=lambda: str(secrets.randbelow(10**20) + 10**20))

    @property
    def ineligible_gpus(self) -> list[str]:
        return [name for name in GPUS if name not in self.eligible_gpus]

    @property
    def ineligible_tpus(self) -> list[str]:
        return [name for name in TPUS if name not in self.eligible_tpus]

    def upgrade(self, tier: Tier = "PRO", balance: float = 100.0, max_vms: int = 5) -> None:
        """Make it a paying account: everything eligible, high-RAM, units to spend."""
        self.tier, self.balance, self.max_vms, self.high_ram, self.free_tokens = tier, balance, max_vms, True, None
        self.eligible_gpus, self.eligible_tpus = GPUS, TPUS

    def spend(self, units: float) -> None:
        paid = min(units, self.balance)
        self.balance -= paid
        if self.free_tokens is not None:
            self.free_tokens = max(0, round(self.free_tokens - (units - paid) * 1000))


@dataclass
class Grant:
    """A refresh token or an access token and what it stands for."""

    value: str
    account: Account
    client: str
    scopes: frozenset[str]
    expires: float | None = None
    refresh: str | None = None  # the refresh token that it came from


@dataclass
class Code:
    """An authorization code between the consent page and the token service."""

    account: Account
    client: str
    scopes: frozenset[str]
    redirect: str
    challenge: str | None
    refreshable: bool
    expires: float


class Tokens:
    """Every token that was ever issued. The validity of an access token is checked when it is used."""

    def __init__(self, clock: Clock, switches: Switches) -> None:
        self._clock = clock
        self._switches = switches
        self.clients: dict[str, str | None] = {}  # the secret; None for a client that was registered without
        self.refresh: dict[str, Grant] = {}
        self.access: dict[str, Grant] = {}
        self.codes: dict[str, Code] = {}
        self._xsrf: dict[str, tuple[str, float]] = {}

    def new_refresh(self, account: Account, client: str, scopes: frozenset[str]) -> Grant:
        grant = Grant(f"1//0fake-{secrets.token_urlsafe(24)}", account, client, scopes)
        self.refresh[grant.value] = grant
        return grant

    def new_access(self, grant: Grant) -> Grant:
        expires = self._clock.now() + self._switches.access_ttl
        made = Grant(
            f"ya29.fake-{secrets.token_urlsafe(24)}", grant.account, grant.client, grant.scopes, expires, grant.value
        )
        self.access[made.value] = made
        return made

    def valid(self, value: str) -> Grant | None:
        """The access token, if it is known and has not expired."""
        grant = self.access.get(value)
        return grant if grant is not None and (grant.expires or 0) > self._clock.now() else None

    def revoke(self, value: str) -> bool:
        """Forget a token and those that go with it."""
        found = self.access.get(value) or self.refresh.get(value)
        if found is None:
            return False
        root = found.refresh or found.value
        self.refresh.pop(root, None)
        for token in [token for token, grant in self.access.items() if root in (token, grant.refresh)]:
            del self.access[token]
        return True

    def expire(self) -> None:
        """Make every access token invalid; refresh tokens stay."""
        self.access.clear()

    def forget(self) -> None:
        """Make every token invalid, as when the user withdraws the consent."""
        self.access.clear()
        self.refresh.clear()

    def new_xsrf(self, purpose: str) -> str:
        token = f"AAx-{secrets.token_urlsafe(12)}"
        self._xsrf[token] = (purpose, self._clock.now() + self._switches.xsrf_ttl)
        return token

    def use_xsrf(self, token: str, purpose: str) -> bool:
        known = self._xsrf.pop(token, None) if self._switches.xsrf_single_use else self._xsrf.get(token)
        return known is not None and known[0] == purpose and known[1] > self._clock.now()


def expand(scopes: str) -> frozenset[str]:
    """The scopes of a request as Google names them in its answers; asking for e-mail or profile adds `openid`."""
    found = {ALIASES.get(scope, scope) for scope in scopes.split()}
    if found & {EMAIL, PROFILE}:
        found.add("openid")
    return frozenset(found)


def jwt(payload: dict[str, Any]) -> str:
    """A string that looks like a signed token. Its signature is random; clients must not check it."""
    parts = [{"alg": "ES256", "typ": "JWT", "kid": "fake"}, payload]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, secrets.token_urlsafe(64)])


def new_id() -> str:
    return uuid.uuid4().hex[:12]


def write_json(path: Path, content: Any) -> None:
    """A file that only its owner may read."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
