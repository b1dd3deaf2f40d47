"""The research host: `/tun/m/*`, and what the editor extension asks of it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from .state import Account
from .vms import VM
from .web import Handler, TunnelHandler
from .world import NBH, VARIANTS, Refusal

SUBSCRIPTIONS = {"FREE": (1, 0), "PRO": (2, 1), "PRO_PLUS": (2, 2)}
AUTH_TYPES = ("dfs_ephemeral", "auth_user_ephemeral")
CONSENTED = "/tun/m/authorize-for-drive-credentials-ephem"


class Assign(TunnelHandler):
    async def get(self) -> None:
        if (found := self._known()) is not None:
            self.document(self._described(found))
            return
        if self._finished:
            return
        account, variant = self.account, (self.arg("variant") or "DEFAULT")
        try:
            _, model = self.world.pool(account, variant, self.arg("accelerator"))
        except Refusal as refusal:
            self.nothing(refusal.status)
            return
        self.document(
            {
                "acc": model,
                "nbh": self.arg("nbh"),
                "p": account.recaptcha,
                "token": self.give_xsrf(),
                "variant": variant,
            }
        )

    async def post(self) -> None:
        self.needs_xsrf()
        if (found := self._known()) is not None:
            self.document(self._described(found))
            return
        if self._finished:
            return
        if self.account.recaptcha and self.world.switches.recaptcha_blocks:
            self.page(403, "Error 403 (Forbidden)")
            return
        try:
            vm = await self.world.assign(
                self.account,
                variant=self.arg("variant") or "DEFAULT",
                accelerator=self.arg("accelerator"),
                high_ram=self.arg("shape") == "hm",
                nbh=self.arg("nbh") or "",
                version=self.arg("runtime_version_label") or "",
            )
        except Refusal as refusal:
            if refusal.outcome is not None:
                self.document({"outcome": refusal.outcome})
            else:
                self.nothing(refusal.status)
            return
        self.document(self._described(vm))

    def _known(self) -> VM | None:
        nbh = self.arg("nbh") or ""
        if not NBH.fullmatch(nbh) or self.arg("shape") not in (None, "hm"):
            self.page(400, "Error 400: nbh or shape")
            return None
        return self.world.by_nbh(self.account, nbh)

    def _described(self, vm: VM) -> dict[str, Any]:
        sub, tier = SUBSCRIPTIONS[vm.account.tier]
        return row(vm) | {"fit": 30, "allowedCredentials": True, "sub": sub, "subTier": tier, "outcome": 4}


def row(vm: VM) -> dict[str, Any]:
    """A VM as listings show it, with a fresh token."""
    accelerator = vm.accelerator.lower() if vm.world.switches.lower_case else vm.accelerator
    return {
        "accelerator": accelerator,
        "endpoint": vm.endpoint,
        "variant": VARIANTS[vm.variant],
        "machineShape": int(vm.high_ram),
        "runtimeProxyInfo": vm.new_token(),
    }


class Assignments(TunnelHandler):
    def get(self) -> None:
        rows = [row(vm) for vm in self.world.listed(self.account)]
        self.document({"assignments": rows} if rows or self.world.switches.empty_assignments else {})


class Unassign(TunnelHandler):
    def get(self, endpoint: str) -> None:
        if self.world.find(self.account, endpoint) is None:
            self.page(404, "Error 404 (Not Found)")
        else:
            self.document({"token": self.give_xsrf()})

    async def post(self, endpoint: str) -> None:
        self.needs_xsrf()
        vm = self.world.find(self.account, endpoint)
        if vm is None:
            self.page(404, "Error 404 (Not Found)")
            return
        if self.world.switches.unassign == "fails":
            self.page(503, "Error 503 (Service Unavailable)")
            return
        if self.world.switches.unassign == "hangs":
            await self.world.silence(self.request.connection, lambda: self.world.switches.unassign == "hangs")
            return
        self.world.release(vm)
        self.nothing(204)


class ProxyToken(TunnelHandler):
    def get(self) -> None:
        self.needs_tunnel_header()
        vm = self.world.find(self.account, self.arg("endpoint") or "")
        port = self.world.served(self.arg("port"))
        if vm is None or port is None:
            self.page(404, "Error 404 (Not Found)")
        else:
            self.document(vm.new_token(port))


class KeepAlive(TunnelHandler):
    async def get(self, endpoint: str) -> None:
        self.needs_tunnel_header()
        vm = self.world.find(self.account, endpoint)
        if vm is None:
            self.page(404, "Error 404 (Not Found)")
            return
        if self.world.switches.activity in ("ping", "either"):
            vm.touch()
        if self.world.switches.keep_alive == "hang":
            await self.world.silence(self.request.connection)  # the VM seldom answers
        elif self.world.switches.keep_alive == "html":
            self.page(200, "alive")
        else:
            self.nothing()


class CcuInfo(TunnelHandler):
    def get(self) -> None:
        self.document(ccu_info(self.account, self.world.rate(self.account), len(self.world.of(self.account))))


def ccu_info(account: Account, rate: float, count: int) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "currentBalance": account.balance,
        "consumptionRateHourly": rate,
        "assignmentsCount": count,
        "eligibleGpus": list(account.eligible_gpus),
        "ineligibleGpus": account.ineligible_gpus,
        "eligibleTpus": list(account.eligible_tpus),
        "ineligibleTpus": account.ineligible_tpus,
    }
    quota = free_quota(account)
    return answer | ({"freeCcuQuotaInfo": quota} if quota else {})


def free_quota(account: Account) -> dict[str, Any] | None:
    """The rest of the free quota. The count is a 64-bit number, hence a string, and absent if zero."""
    if account.free_tokens is None:
        return None
    quota: dict[str, Any] = {"remainingTokens": str(account.free_tokens)}
    if account.refill_at is not None:
        quota["nextRefillTimestampSec"] = int(account.refill_at)
    return quota


class Credentials(TunnelHandler):
    """Let a VM use the user's Drive or account, after consent in a browser."""

    def get(self, endpoint: str) -> None:
        if self._vm(endpoint) is not None:
            self.document({"token": self.give_xsrf()})

    def post(self, endpoint: str) -> None:
        self.needs_xsrf()
        vm = self._vm(endpoint)
        if vm is None:
            return
        kind = self.arg("authtype") or ""
        if kind in self.account.consented:
            if self.arg("dryrun") == "false":
                vm.propagated.add(kind)
            self.document({"success": True})
        elif self.arg("dryrun") == "false":
            self.document({"success": False})
        else:
            query = {
                "response_type": "none gsession",
                "client_id": "fake-drive.apps.googleusercontent.com",
                "redirect_uri": self.world.urls["tunnel"] + CONSENTED,
                "state": kind,
                "scope": "drive",
                "login_hint": self.account.email,
            }
            where = f"{self.world.urls['accounts']}/o/oauth2/v2/auth?{urlencode(query)}"
            self.document({"success": False, "unauthorized_redirect_uri": where})

    def _vm(self, endpoint: str) -> VM | None:
        vm = self.world.find(self.account, endpoint)
        fixed = {"version": "2", "propagate": "true", "record": "false"}
        if vm is None:
            self.page(404, "Error 404 (Not Found)")
        elif (
            self.arg("authtype") not in AUTH_TYPES
            or self.arg("dryrun") not in ("true", "false")
            or any(self.arg(name) != value for name, value in fixed.items())
        ):
            self.page(400, "Error 400 (Bad Request)")
            return None
        return vm


class Consented(Handler):
    """The page after the consent for a VM's credentials. It shows no code."""

    role = "tunnel"

    def get(self) -> None:
        self.page(200, "You may close this window.")


class Experiments(Handler):
    """Works without a login."""

    role = "tunnel"

    def get(self) -> None:
        self.document({"experiments": self.world.switches.experiments} if self.world.switches.experiments else {})


ROUTES: list[Any] = [
    (r"/tun/m/assign", Assign),
    (r"/tun/m/assignments", Assignments),
    (r"/tun/m/unassign/(?P<endpoint>[\w-]+)", Unassign),
    (r"/tun/m/runtime-proxy-token", ProxyToken),
    (r"/tun/m/ccu-info", CcuInfo),
    (r"/tun/m/credentials-propagation/(?P<endpoint>[\w-]+)", Credentials),
    (CONSENTED, Consented),
    (r"/tun/m/(?P<endpoint>[\w-]+)/keep-alive/", KeepAlive),
    (r"/vscode/experiment-state", Experiments),
]
