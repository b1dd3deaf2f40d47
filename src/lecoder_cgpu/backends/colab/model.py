"""What Colab's control planes say, in one vocabulary. Pure.

Each plane spells the same thing in its own way (protocol C13), and new names appear without warning. So everything is
read tolerantly: unknown values are kept as they came, missing fields have the meaning that their absence has, and
whatever is not understood is "unknown", never something near to it.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from msgspec import Struct

from ..protocol import Account as Account

SERVER_PORT = 8080  # of the Jupyter server on a runtime
TOKEN_LIFETIME = 3600.0  # seconds that a proxy token lives when the answer does not say (protocol C29)

# Names of today (protocol C11), for advice and for what a user may have meant. Others are passed on as they are.
GPUS = ("T4", "L4", "G4", "A100", "H100")
TPUS = ("V5E1", "V6E1", "V28")
# GB of memory, as their makers sell them. Colab chooses between two kinds of A100.
MEMORY = {"T4": "16", "L4": "24", "G4": "96", "A100": "40 or 80", "H100": "80", "V5E1": "16", "V6E1": "32", "V28": "64"}
ONE_SHAPE = frozenset(
    {"L4", "V28", "V5E1", "V6E1"}
)  # come in one machine shape, so none may be asked for (protocol C12)

_VARIANTS = {0: "DEFAULT", 1: "GPU", 2: "TPU"}
_CPU = frozenset({"", "UNSPECIFIED", "DEFAULT", "CPU", "NONE"})
_HIGH_MEMORY = frozenset({"HIGHMEM", "HM", "HIGHRAM"})
_TIERS = {
    "0": "free",
    "NONE": "free",
    "FREE": "free",
    "1": "pro",
    "PRO": "pro",
    "2": "pro_plus",
    "PRO_PLUS": "pro_plus",
}


class ProxyInfo(Struct, frozen=True, kw_only=True):
    """How to reach a runtime, and for how many seconds from now the token is good."""

    url: str
    token: str
    lifetime: float = TOKEN_LIFETIME

    def __repr__(self) -> str:
        return f"ProxyInfo(url={self.url!r})"


class Assignment(Struct, frozen=True, kw_only=True):
    """One runtime that the account holds.

    `endpoint` is Colab's name for it; `variant` is DEFAULT, GPU, TPU, or what else was said; `accelerator` is `NONE`
    on a machine without. `address` is its name in keep-alive pings, where the plane tells. `tier` is that of the
    account, which only the answer to a fresh assignment tells.
    """

    endpoint: str
    variant: str
    accelerator: str
    high_memory: bool = False
    proxy: ProxyInfo | None = None
    address: str | None = None
    tier: str | None = None

    @property
    def label(self) -> str:
        return label(self.variant, self.accelerator)


def label(variant: str, accelerator: str) -> str:
    """A runtime's name for people, in the predecessor's form: Colab GPU T4."""
    return f"Colab {variant}" + ("" if accelerator == "NONE" else f" {accelerator}")


def accelerator(value: Any) -> str:
    """An accelerator's name from the wire; `NONE` for none."""
    text = str(value or "").strip().upper()
    return "NONE" if text in _CPU else text


# What people write before an accelerator's name, and behind it: makers, sizes of memory, kinds of boards.
_MAKERS = re.compile(r"(?:(?:NVIDIA|GOOGLE|COLAB|CLOUD|TESLA|QUADRO|GEFORCE|TPU|GPU)(?:[\s_-]+|(?=[A-Z]?\d)))+")
_BOARDS = re.compile(r"(?:[\s_-]+(?:\d+\s*GI?B?|PCIE?|SXM\d?|NVL|HBM\d?E?|TENSOR|CORE|GPU|TPU))+$")
# Cards under the names that their maker gave them, and kinds of TPUs without their size -> Colab's names.
_ALSO = {
    **dict.fromkeys(("RTXPRO6000", "RTXPRO6000BLACKWELL", "RTXPRO6000BLACKWELLSERVEREDITION", "RTX6000"), "G4"),
    "V2": "V28",
    "V5E": "V5E1",
    "V6E": "V6E1",
    "TRILLIUM": "V6E1",
}


def typed_accelerator(text: str) -> str:
    """The wire's spelling of an accelerator that people type: `t4`, `Tesla T4`, `A100 80GB`, `NVIDIA A100-SXM4-40GB`,
    `RTX PRO 6000`, `Colab GPU G4`, `v5e-1`, `TPU v2-8`; "" when it is not a name."""
    name = text.strip().upper()
    if (maker := _MAKERS.match(name)) is not None:
        name = name[maker.end() :]
    name = re.sub(r"[\s_-]", "", _BOARDS.sub("", name))
    name = re.sub(r"^(V\d)LITE(?:POD)?", r"\1E", name)
    name = _ALSO.get(name, name)
    return name if re.fullmatch(r"[A-Z]+[0-9][A-Z0-9]*", name) else ""


def is_tpu(name: str) -> bool:
    """Whether that is the name of a TPU (V5E1), as far as names tell. V100 is a GPU."""
    return bool(re.fullmatch(r"V\d[A-Z]*\d", name)) and name != "V100"


def variant(value: Any, accelerator_name: str) -> str:
    """DEFAULT, GPU or TPU from any plane's spelling; derived from the accelerator where it is missing."""
    if value is None:
        if accelerator_name == "NONE":
            return "DEFAULT"
        return "TPU" if is_tpu(accelerator_name) else "GPU"
    text = str(value).strip().upper().removeprefix("VARIANT_")
    if text.isdecimal() and len(text) < 4:
        return _VARIANTS.get(int(text), text)
    return "DEFAULT" if text in _CPU else text


def high_memory(value: Any) -> bool:
    """Whether a machine shape is the one with much memory, in any plane's spelling."""
    text = str(value if value is not None else "").strip().upper()
    if text.isdecimal() and len(text) < 4:
        return int(text) > 0
    return text.removeprefix("SHAPE_").replace("_", "") in _HIGH_MEMORY


def tier(value: Any) -> str | None:
    """free, pro, pro_plus, or None for what is unknown."""
    text = str(value if value is not None else "").strip().upper().removeprefix("SUBSCRIPTION_TIER_")
    return _TIERS.get(text)


def seconds(value: Any) -> float:
    """A token's lifetime: a number, a numeric string, or a duration such as "3600s"; else the usual one."""
    text = str(value if value is not None else "").strip().removesuffix("s")
    number = _number(text)
    return number if number is not None and number > 0 else TOKEN_LIFETIME


def proxy(value: Any) -> ProxyInfo | None:
    """A runtime's address and token, None when the answer has no usable one."""
    if not isinstance(value, dict) or not value.get("url") or not value.get("token"):
        return None
    lifetime = value.get("tokenExpiresInSeconds", value.get("tokenTtl"))
    if lifetime is None and isinstance(value.get("expireTime"), str):
        lifetime = _moment(value["expireTime"]) - time.time()
    return ProxyInfo(url=str(value["url"]), token=str(value["token"]), lifetime=seconds(lifetime))


def account_from_ccu(answer: dict[str, Any]) -> Account:
    """The account as `/tun/m/ccu-info` shows it."""
    found = Account(
        balance=_number(answer.get("currentBalance")),
        rate=_number(answer.get("consumptionRateHourly")),
        assignments=_count(answer.get("assignmentsCount")),
        gpus=_names(answer.get("eligibleGpus")),
        tpus=_names(answer.get("eligibleTpus")),
        refused_gpus=_names(answer.get("ineligibleGpus")),
        refused_tpus=_names(answer.get("ineligibleTpus")),
    )
    _add_quota(found, answer.get("freeCcuQuotaInfo"))
    return found


def account_from_user_info(answer: dict[str, Any]) -> Account:
    """The account as the private API's `user-info` shows it, with its consumption. Its zeros are absent."""
    found = Account(
        balance=_number(answer.get("paidComputeUnitsBalance", 0)),
        rate=_number(answer.get("consumptionRateHourly", 0)),
        assignments=_count(answer.get("assignmentsCount", 0)),
        tier=tier(answer.get("subscriptionTier")),
    )
    found.gpus, found.tpus = _models(answer.get("eligibleAccelerators"))
    found.refused_gpus, found.refused_tpus = _models(answer.get("ineligibleAccelerators"))
    _add_quota(found, answer.get("freeCcuQuotaInfo"))
    return found


def _add_quota(account: Account, quota: Any) -> None:
    if not isinstance(quota, dict):
        return
    milli = _number(quota.get("remainingTokens", 0))
    account.free_units = None if milli is None else milli / 1000
    account.refills_at = _number(quota.get("nextRefillTimestampSec"))
    if account.tier is None and not account.balance:
        account.tier = "free"  # the quota is only told to those who have nothing paid


def _models(groups: Any) -> tuple[list[str], list[str]]:
    found: dict[str, list[str]] = {"GPU": [], "TPU": []}
    for group in groups if isinstance(groups, list) else ():
        if isinstance(group, dict):
            found.setdefault(variant(group.get("variant"), "NONE"), []).extend(_names(group.get("models")) or [])
    return found["GPU"], found["TPU"]


def _names(value: Any) -> list[str] | None:
    if value is None:
        return None
    return [accelerator(name) for name in value] if isinstance(value, Iterable) and not isinstance(value, str) else None


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _count(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _moment(text: str) -> float:
    """Unix time of an RFC 3339 moment, whatever the number of its decimals; 0 for anything else."""
    try:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text)).timestamp()
    except ValueError:
        return 0.0
