"""The private API. By default a user's own OAuth client may not call it, as we expect of the real one."""

from __future__ import annotations

from typing import Any

from .state import PORT
from .tunnel import free_quota
from .vms import VM
from .web import ApiHandler, Handler

TIERS = {"FREE": "NONE", "PRO": "PRO", "PRO_PLUS": "PRO_PLUS"}
VARIANTS = {"DEFAULT": "VARIANT_UNSPECIFIED", "GPU": "VARIANT_GPU", "TPU": "VARIANT_TPU"}


class PrivateHandler(ApiHandler):
    role = "pa"
    read_scopes = ()
    service = "colab.pa.googleapis.com"

    def enabled(self) -> bool:
        return self.world.switches.private_api

    def find(self) -> VM | None:
        return self.world.find(self.account, self.arg("endpoint") or "")


class UserInfo(PrivateHandler):
    def get(self) -> None:
        account = self.account
        answer: dict[str, Any] = {"subscriptionTier": f"SUBSCRIPTION_TIER_{TIERS[account.tier]}"}
        answer["eligibleAccelerators"] = groups(account.eligible_gpus, account.eligible_tpus)
        answer["ineligibleAccelerators"] = groups(account.ineligible_gpus, account.ineligible_tpus)
        answer["paidComputeUnitsBalance"] = account.balance
        if self.arg("get_ccu_consumption_info") == "true":
            answer["consumptionRateHourly"] = self.world.rate(account)
            answer["assignmentsCount"] = len(self.world.of(account))
            quota = free_quota(account)
            if quota and not account.balance:
                answer["freeCcuQuotaInfo"] = quota
        self.document(without_empty(answer))


def groups(gpus: Any, tpus: Any) -> list[dict[str, Any]]:
    found = [("VARIANT_GPU", list(gpus)), ("VARIANT_TPU", list(tpus))]
    return [without_empty({"variant": variant, "models": models}) for variant, models in found]


def without_empty(content: dict[str, Any]) -> dict[str, Any]:
    """JSON as proto3 writes it: empty, zero and false fields are absent."""
    return {key: value for key, value in content.items() if value}


def proxy_info(vm: VM, port: int = PORT) -> dict[str, Any]:
    token = vm.new_token(port)
    said = token["tokenExpiresInSeconds"]
    ttl = f"{said:g}s" if isinstance(said, (int, float)) else said
    return {"token": token["token"], "tokenTtl": ttl, "url": token["url"]}


class Assignments(PrivateHandler):
    def get(self) -> None:
        rows = [
            without_empty(
                {
                    "endpoint": vm.endpoint,
                    "accelerator": vm.accelerator,
                    "variant": VARIANTS[vm.variant],
                    "machineShape": "SHAPE_HIGH_MEM" if vm.high_ram else "SHAPE_DEFAULT",
                    "runtimeProxyInfo": proxy_info(vm),
                    "runtimeVersionLabel": vm.version,
                    "notebookIdHash": vm.nbh,
                }
            )
            for vm in self.world.listed(self.account)
        ]
        self.document(without_empty({"assignments": rows}))


class ProxyToken(PrivateHandler):
    def get(self) -> None:
        vm = self.find()
        port = self.world.served(self.arg("port"))
        if vm is None or port is None:
            self.error(404, "NOT_FOUND", "Requested entity not found.")
        else:
            self.document(proxy_info(vm, port))


class KeepAlive(Handler):
    """The former keep-alive call, which is closed to outsiders."""

    role = "pa"

    def post(self) -> None:
        self.document([7, "Caller does not have required permission to use project.", []], 403)


ROUTES: list[Any] = [
    (r"/v1/user-info", UserInfo),
    (r"/v1/assignments", Assignments),
    (r"/v1/runtime-proxy-token", ProxyToken),
    (r"/\$rpc/.*", KeepAlive),
]
