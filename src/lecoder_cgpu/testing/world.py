"""The fake Colab's state, and the rules by which VMs come and go. It belongs to the thread of the event loop."""

from __future__ import annotations

import asyncio
import re
import secrets
import uuid
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .drive_store import Drive
from .faults import Faults, Request
from .state import GPUS, ONE_SHAPE, PORT, RATES, SCOPES, TPUS, Account, Clock, Switches, Tokens, new_id
from .vms import VM, Order

if TYPE_CHECKING:
    from .public import Operation

NBH = re.compile(r"[a-zA-Z0-9\-_.]{44}")
CLIENT = ("fake-client.apps.googleusercontent.com", "fake-secret")  # an OAuth client that is always registered
KEYS = {
    "accounts": "accountsDomain",
    "oauth": "oauthDomain",
    "apis": "googleApisDomain",
    "tunnel": "colabApiDomain",
    "pa": "colabGapiDomain",
    "public": "colabPublicApiDomain",
}
VARIANTS = {"DEFAULT": 0, "GPU": 1, "TPU": 2}


class Refusal(Exception):
    """A refused VM. `outcome` is sent with HTTP 200, `status` as an HTTP error, `reason` by the public API."""

    def __init__(self, reason: str, *, outcome: int | None = None, status: int = 200) -> None:
        super().__init__(reason)
        self.reason = reason
        self.outcome = outcome
        self.status = status


class World:
    """Accounts, VMs, faults and the request log."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder = folder
        self.python = python
        self.clock = Clock()
        self.switches = Switches()
        self.tokens = Tokens(self.clock, self.switches)
        self.faults = Faults()
        self.requests: list[Request] = []
        self.accounts: dict[str, Account] = {}
        self.vms: dict[str, VM] = {}
        self.urls: dict[str, str] = {}  # of the hosts, by role
        self.lingering: dict[str, tuple[VM, float]] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.ended: list[VM] = []
        self.drive = Drive(self.clock)
        self.operations: dict[str, Operation] = {}  # of the public API, by request id
        self._count = 0
        self._spent_at = self.clock.now()

    # --- what the handlers share ---

    def note(
        self, method: str, role: str, path: str, query: dict[str, str], headers: dict[str, str], vm: str | None
    ) -> Request:
        """Log a request, after doing what is due by the clock."""
        self.reap()
        request = Request(method, role, path, query, headers, self.clock.now(), vm)
        self.requests.append(request)
        return request

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something in the background; closing waits for it."""
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def later(self, action: Callable[..., Any], *arguments: Any) -> None:
        """Do something after the present answer was sent."""
        asyncio.get_running_loop().call_later(0.05, action, *arguments)

    async def silence(self, connection: Any, hangs: Callable[[], bool] = lambda: True) -> None:
        """Wait until the client gives up, or `hangs` is false; then the connection is closed without an answer."""
        stream = connection.stream
        while hangs() and not stream.closed():
            await asyncio.sleep(0.05)
        stream.close()

    def granted(self, account: Account, client: str) -> frozenset[str]:
        """What the account has allowed the client so far."""
        found = [
            grant.scopes for grant in self.tokens.refresh.values() if (grant.account, grant.client) == (account, client)
        ]
        return frozenset[str]().union(*found)

    def login(self, account: Account, scopes: Iterable[str]) -> str:
        """A refresh token for the client `CLIENT`, as after a login."""
        self.tokens.clients[CLIENT[0]] = CLIENT[1]
        return self.tokens.new_refresh(account, CLIENT[0], frozenset(scopes)).value

    def config(self, *, client: bool = True) -> dict[str, str]:
        """A `config.json` that points to this fake, with or without an OAuth client."""
        known = {"clientId": CLIENT[0], "clientSecret": CLIENT[1]} if client else {}
        return known | {KEYS[role]: url for role, url in self.urls.items()}

    def session(self, account: Account, scopes: Iterable[str] = SCOPES) -> dict[str, Any]:
        """A new login in the format of the predecessor's `session.json`."""
        return {
            "id": str(uuid.uuid4()),
            "refreshToken": self.login(account, scopes),
            "scopes": [scope for scope in scopes if scope != "openid"],
            "account": {"id": account.email, "label": account.name},
        }

    @staticmethod
    def new_secret() -> str:
        return secrets.token_urlsafe(24)

    # --- VMs ---

    def of(self, account: Account) -> list[VM]:
        """The account's VMs, the oldest first."""
        return [vm for vm in self.vms.values() if vm.account is account]

    def listed(self, account: Account) -> list[VM]:
        """What a listing shows: living VMs, and released ones that linger; nothing while it blinks."""
        if self.switches.blink > 0:
            self.switches.blink -= 1
            return []
        late = [vm for vm, until in self.lingering.values() if vm.account is account and until > self.clock.now()]
        return self.of(account) + late

    def find(self, account: Account, endpoint: str) -> VM | None:
        vm = self.vms.get(endpoint)
        return vm if vm is not None and vm.account is account else None

    def served(self, port: str | None) -> int | None:
        """The port that a request for a proxy token names; None if there is no token for it."""
        if port == str(PORT):
            return PORT
        known = port is not None and port.isascii() and port.isdigit() and 0 < int(port) < 65536
        return int(port or 0) if known and self.switches.other_ports else None

    def by_nbh(self, account: Account, nbh: str) -> VM | None:
        return next((vm for vm in self.of(account) if vm.nbh == nbh), None)

    def pool(self, account: Account, variant: str, accelerator: str | None) -> tuple[str, str]:
        """The variant and the model that a request names.

        Raises:
            Refusal: there is no such thing.
        """
        model = (accelerator or "NONE").upper()
        gpus, tpus = {*GPUS, *account.eligible_gpus}, {*TPUS, *account.eligible_tpus}
        if variant == "GPU" and model == "NONE":
            model = next(iter(account.eligible_gpus), "T4")
        if variant == "TPU" and model == "NONE":
            model = next(iter(account.eligible_tpus), "V5E1")
        if variant != ("GPU" if model in gpus else "TPU" if model in tpus else "DEFAULT" if model == "NONE" else None):
            raise Refusal("UNKNOWN_ACCELERATOR", status=400)
        return variant, model

    async def assign(
        self,
        account: Account,
        *,
        variant: str = "DEFAULT",
        accelerator: str | None = None,
        high_ram: bool = False,
        nbh: str = "",
        version: str = "",
        runtime_id: str | None = None,
        origin: str = "client",
    ) -> VM:
        """A new VM for the account, after the checks that Google makes, in their order.

        Raises:
            Refusal: the account gets none.
        """
        variant, model = self.pool(account, variant, accelerator)
        if account.denylisted:
            raise Refusal("DENYLISTED", outcome=5)
        if model != "NONE" and model not in (*account.eligible_gpus, *account.eligible_tpus):
            raise Refusal("NOT_ELIGIBLE", status=400)
        if high_ram and (not account.high_ram or model in ONE_SHAPE):
            raise Refusal("NOT_ELIGIBLE", status=400)
        if len(self.of(account)) >= account.max_vms:
            raise Refusal("TOO_MANY_ACTIVE_RUNTIMES", status=412)
        if account.outcome is not None:
            raise Refusal("QUOTA_EXCEEDED_USAGE_TIME", outcome=account.outcome)
        if model in account.out_of_stock:
            raise Refusal("ACCELERATOR_UNAVAILABLE", status=503)
        return await self.boot(account, variant, model, high_ram, nbh, version, runtime_id, origin)

    async def boot(
        self,
        account: Account,
        variant: str,
        model: str,
        high_ram: bool,
        nbh: str,
        version: str,
        runtime_id: str | None,
        origin: str,
    ) -> VM:
        """Add a VM without any check."""
        self._count += 1
        kind = "m-s" if model == "NONE" else f"{variant.lower()}-{model.lower()}-s"
        endpoint = f"{kind}-fake{self._count}-{new_id()}"
        nbh = nbh or secrets.token_hex(18).ljust(44, ".")
        order = Order(account, variant, model, high_ram, version, runtime_id, origin)
        vm = VM(self, endpoint, order, nbh, self._count)
        self.spend()  # for the VMs held so far, at their rate
        self.vms[endpoint] = vm
        await vm.open()
        return vm

    def release(self, vm: VM) -> None:
        """End a VM; its endpoint may stay in listings for a while."""
        self.spend()
        if self.vms.pop(vm.endpoint, None) is None:
            return
        if self.switches.linger:
            self.lingering[vm.endpoint] = (vm, self.clock.now() + self.switches.linger)
        vm.end()

    def kill(self, vm: VM) -> None:
        """Take a VM away as Google does, without lingering."""
        self.spend()
        self.vms.pop(vm.endpoint, None)
        vm.end()

    async def close(self) -> None:
        """End everything and wait for it."""
        for vm in list(self.vms.values()):
            self.kill(vm)
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for vm in self.ended:
            await vm.closed()

    def reap(self) -> None:
        """Do what is due by the clock: pruning, expiry, spending."""
        now = self.clock.now()
        self.spend()
        for vm in list(self.vms.values()):
            idle = now - vm.last_activity
            if idle > self.switches.idle_limit or now - vm.created > self.switches.max_lifetime:
                self.release(vm)
            else:
                vm.reap()

    def advance(self, seconds: float) -> None:
        """Let time pass, and do what becomes due."""
        self.clock.offset += seconds
        self.reap()

    async def start_vm(self, accelerator: str | None, account: Account, origin: str, nbh: str = "") -> VM:
        """A VM without any check, as started by another program."""
        model = accelerator or "NONE"
        kind = "DEFAULT" if model == "NONE" else "TPU" if model in (*TPUS, *account.eligible_tpus) else "GPU"
        return await self.boot(account, kind, model, False, nbh, "", None, origin)

    # --- money ---

    def rate(self, account: Account) -> float:
        """Units per hour that the account's VMs use together."""
        return sum(RATES.get(vm.accelerator, 1.0) * (2 if vm.high_ram else 1) for vm in self.of(account))

    def spend(self) -> None:
        now = self.clock.now()
        hours, self._spent_at = max(0.0, now - self._spent_at) / 3600, now
        for account in self.accounts.values():
            account.spend(self.rate(account) * hours)
