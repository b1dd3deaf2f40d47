"""The public API, as its discovery document has it: specs, subscription, runtimes, long-running operations."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tornado.web import Finish

from .private import without_empty
from .state import GPUS, ONE_SHAPE, TPUS, Account
from .vms import VM
from .web import ApiHandler, error_info
from .world import Refusal

RUNTIME_ID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
VARIANTS = {"VARIANT_CPU": "DEFAULT", "VARIANT_GPU": "GPU", "VARIANT_TPU": "TPU"}
NAMES = {ours: name for name, ours in VARIANTS.items()}
ALREADY_EXISTS, FAILED_PRECONDITION = 6, 9
TYPE = "type.googleapis.com/google.colab.v1beta."


@dataclass
class Operation:
    """A long-running operation: its result, and how often it still looks unfinished."""

    account: Account
    result: dict[str, Any]
    polls: int
    name: str = field(default_factory=lambda: f"operations/{uuid.uuid4()}")

    def shown(self) -> dict[str, Any]:
        if self.polls > 0:
            self.polls -= 1
            return {"name": self.name, "metadata": {"@type": TYPE + "CreateRuntimeMetadata"}}
        return {"name": self.name, "done": True, **self.result}


class PublicHandler(ApiHandler):
    role = "public"
    service = "colaboratory.googleapis.com"

    def enabled(self) -> bool:
        return self.world.switches.public_api

    def find(self, runtime_id: str) -> VM | None:
        return next((vm for vm in self.world.of(self.account) if vm.runtime_id == runtime_id), None)

    def not_found(self) -> None:
        self.error(404, "NOT_FOUND", "Requested entity was not found.")


def specs(account: Account) -> list[dict[str, Any]]:
    """Every kind of runtime, and whether the account may have it."""
    found = []
    for variant, models, eligible in (
        ("VARIANT_CPU", ("NONE",), ("NONE",)),
        ("VARIANT_GPU", dict.fromkeys((*GPUS, *account.eligible_gpus)), account.eligible_gpus),
        ("VARIANT_TPU", dict.fromkeys((*TPUS, *account.eligible_tpus)), account.eligible_tpus),
    ):
        for model in models:
            for shape in ("SHAPE_HIGHMEM",) if model in ONE_SHAPE else ("SHAPE_STANDARD", "SHAPE_HIGHMEM"):
                allowed = model in eligible and (shape == "SHAPE_STANDARD" or model in ONE_SHAPE or account.high_ram)
                key = {"variant": variant, "accelerator": model, "shape": shape}
                found.append(without_empty({"key": key, "eligible": allowed}))
    return found


def runtime(vm: VM) -> dict[str, Any]:
    token = vm.new_token()
    expires = datetime.fromtimestamp(vm.tokens[token["token"]].expires, UTC).isoformat().replace("+00:00", "Z")
    high = vm.high_ram or vm.accelerator in ONE_SHAPE
    key = {"variant": NAMES[vm.variant], "accelerator": vm.accelerator}
    key["shape"] = "SHAPE_HIGHMEM" if high else "SHAPE_STANDARD"
    connection = {"token": token["token"], "expireTime": expires, "url": token["url"]}
    shown = {"name": f"runtimes/{vm.runtime_id}", "runtimeSpec": key, "connectionInfo": connection}
    return without_empty(shown | {"version": vm.version})


class Specs(PublicHandler):
    def get(self) -> None:
        self.document({"runtimeSpecs": specs(self.account)})


class Subscription(PublicHandler):
    def get(self) -> None:
        self.document({"name": "subscription", "tier": f"SUBSCRIPTION_TIER_{self.account.tier}"})


class Runtimes(PublicHandler):
    def get(self) -> None:
        self.document(without_empty({"runtimes": [runtime(vm) for vm in self.world.listed(self.account)]}))

    async def post(self) -> None:
        request_id, operations = self.arg("requestId"), self.world.operations
        if request_id:
            for key, operation in operations.items():
                if key == request_id and operation.account is self.account:
                    self.document(operation.shown())
                    return
        operation = await self._create()
        operations[request_id or operation.name] = operation
        self.document(operation.shown())

    async def _create(self) -> Operation:
        spec, version = self._spec()
        runtime_id = self.arg("runtimeId") or f"r-{uuid.uuid4().hex[:20]}"
        if not RUNTIME_ID.fullmatch(runtime_id):
            raise self._invalid("runtime_id")
        if self.find(runtime_id) is not None:
            return self._failed(ALREADY_EXISTS, "ALREADY_EXISTS", 0)
        try:
            high = spec["shape"] == "SHAPE_HIGHMEM" and spec["accelerator"] not in ONE_SHAPE
            vm = await self.world.assign(
                self.account,
                variant=VARIANTS[spec["variant"]],
                accelerator=spec["accelerator"],
                high_ram=high,
                version=version,
                runtime_id=runtime_id,
            )
        except Refusal as refusal:
            return self._failed(FAILED_PRECONDITION, refusal.reason, self.world.switches.lro_polls)
        made = {"@type": TYPE + "Runtime", **runtime(vm)}
        return Operation(self.account, {"response": made}, self.world.switches.lro_polls)

    def _spec(self) -> tuple[dict[str, str], str]:
        """What the body asks for; it must be one of the listed specifications."""
        body = self.payload()
        key = body.get("runtimeSpec") if isinstance(body, dict) else None
        for spec in specs(self.account):
            if key == spec["key"]:
                return spec["key"], str(body.get("version", ""))
        raise self._invalid("runtime_spec")

    def _invalid(self, what: str) -> Finish:
        self.error(400, "INVALID_ARGUMENT", f"Request contains an invalid argument: {what}.")
        return Finish()

    def _failed(self, code: int, reason: str, polls: int) -> Operation:
        details = [error_info(reason, self.service)]
        error = {"code": code, "message": f"The runtime was not created: {reason}.", "details": details}
        return Operation(self.account, {"error": error}, polls)


class Runtime(PublicHandler):
    def get(self, runtime_id: str) -> None:
        vm = self.find(runtime_id)
        self.not_found() if vm is None else self.document(runtime(vm))

    def delete(self, runtime_id: str) -> None:
        vm = self.find(runtime_id)
        if vm is not None:
            self.world.release(vm)
        elif self.arg("allowMissing") != "true":
            self.not_found()
            return
        self.document({})


class Operations(PublicHandler):
    def get(self) -> None:
        self.error(501, "UNIMPLEMENTED", "Operation is not implemented, or supported, or enabled.")


class OneOperation(PublicHandler):
    """Looking at an operation, and waiting for it, which may end early."""

    def get(self, name: str) -> None:
        for operation in self.world.operations.values():
            if operation.name == name and operation.account is self.account:
                self.document(operation.shown())
                return
        self.not_found()


ROUTES: list[Any] = [
    (r"/v1beta/runtimespecs", Specs),
    (r"/v1beta/subscription", Subscription),
    (r"/v1beta/runtimes", Runtimes),
    (r"/v1beta/runtimes/([^/:]+)", Runtime),
    (r"/v1/operations", Operations),
    (r"/v1/(operations/[^/:]+)(?::wait)?", OneOperation),
]
