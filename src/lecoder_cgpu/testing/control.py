"""`/__sim/…` on every port: what `FakeColab` offers in Python, for other processes.

Bodies and answers are JSON without any prefix; nothing here asks for a login, and nothing is logged.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from tornado.web import HTTPError, RequestHandler

from .faults import Fault, Request
from .state import SCOPES, Account, Switches
from .vms import VM
from .world import CLIENT, World

FAULT = {"times", "status", "headers", "delay", "hang", "drop", "lose", "patch", "vm", "query"}


class _Control(RequestHandler):
    def initialize(self, world: World) -> None:
        self.world = world

    @property
    def content(self) -> dict[str, Any]:
        try:
            content = json.loads(self.request.body or b"{}")
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise HTTPError(400, reason="the body must be a JSON object")
        return content

    def account_of(self, content: dict[str, Any]) -> Account:
        """The account that `email` names, taken out of the document; the first one by default."""
        accounts = self.world.accounts
        email = content.pop("email", None) or next(iter(accounts))
        if email not in accounts:
            accounts[email] = Account(email)
        return accounts[email]

    def answer(self, content: Any) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(content, default=_plain) + "\n")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.answer({"error": self._reason})


class State(_Control):
    """The whole state."""

    def get(self) -> None:
        world = self.world
        self.answer(
            {
                "now": world.clock.now(),
                "switches": asdict(world.switches),
                "accounts": [asdict(account) for account in world.accounts.values()],
                "vms": [shown(vm) for vm in world.vms.values()],
                "faults": [fault.route for fault in world.faults.left()],
            }
        )


class Requests(_Control):
    """The log of requests. Headers are left out: they hold tokens."""

    def get(self) -> None:
        self.answer([shown(request) for request in self.world.requests])

    def delete(self) -> None:
        self.world.requests.clear()
        self.answer({})


class Advance(_Control):
    """`{"seconds": 3600}`: let time pass on Google's side."""

    def post(self) -> None:
        self.world.advance(float(self.content.get("seconds", 0)))
        self.answer({"now": self.world.clock.now()})


class Change(_Control):
    """Fields of the switches."""

    def post(self) -> None:
        assign(self.world.switches, self.content)
        self.answer(asdict(self.world.switches))


class Accounts(_Control):
    """Fields of the account `email`, which is made when there is none; `{"upgrade": "PRO"}` makes it a paying one."""

    def post(self) -> None:
        content = self.content
        account = self.account_of(content)
        if (tier := content.pop("upgrade", None)) is not None:
            account.upgrade(tier)
        assign(account, content)
        self.answer(asdict(account))


class Login(_Control):
    """A login for `email` with `scopes`, in the three forms that are useful: `config.json` and `session.json`, and
    Google's own `credentials` for `LECODER_CGPU_CREDENTIALS`."""

    def post(self) -> None:
        content = self.content
        account = self.account_of(content)
        session = self.world.session(account, content.get("scopes", SCOPES))
        credentials = {
            "type": "authorized_user",
            "client_id": CLIENT[0],
            "client_secret": CLIENT[1],
            "refresh_token": session["refreshToken"],
            "token_uri": self.world.urls["oauth"] + "/token",
        }
        self.answer({"config": self.world.config(), "session": session, "credentials": credentials})


class Fail(_Control):
    """POST: fields of a fault, with `body` as text. DELETE: remove all faults."""

    def post(self) -> None:
        content = self.content
        body = content.pop("body", "")
        route = content.pop("route", None)
        if not isinstance(route, str) or not isinstance(body, str) or content.keys() - FAULT:
            raise HTTPError(400, reason="give route, and: body, " + ", ".join(sorted(FAULT)))
        self.world.faults.add(Fault(route, body=body.encode(), **content))
        self.answer({})

    def delete(self) -> None:
        self.world.faults.queue.clear()
        self.answer({})


class Tokens(_Control):
    """Make access tokens invalid (`expire`), or refresh tokens too (`revoke`)."""

    def post(self, what: str) -> None:
        self.world.tokens.expire() if what == "expire" else self.world.tokens.forget()
        self.answer({})


class VMs(_Control):
    """POST `{"accelerator": "T4"}`: a VM that somebody else started."""

    async def post(self) -> None:
        content = self.content
        account = self.account_of(content)
        vm = await self.world.start_vm(content.get("accelerator"), account, content.get("origin", "browser"))
        self.answer(shown(vm))


class OneVM(_Control):
    """What can happen to a VM: `kill`, `expire` (its proxy tokens), `drop` (its sockets), `move` (its proxy)."""

    async def post(self, endpoint: str, what: str) -> None:
        vm = self.world.vms.get(endpoint)
        if vm is None:
            raise HTTPError(404, reason="no such VM")
        if what == "kill":
            vm.kill()
        elif what == "expire":
            vm.expire_tokens()
        elif what == "move":
            await vm.move()
        else:
            options = self.content
            vm.drop_sockets(silently=options.get("silently", False), lose_buffer=options.get("lose_buffer", False))
        self.answer(shown(vm))


def assign(target: Switches | Account, content: dict[str, Any]) -> None:
    """Set existing fields. Tuples and sets are lists in JSON."""
    names = {field.name for field in fields(target)}
    if unknown := content.keys() - names:
        raise HTTPError(400, reason=f"there is no {', '.join(sorted(unknown))}")
    for name, value in content.items():
        kind = type(getattr(target, name))
        setattr(target, name, kind(value) if kind in (tuple, set) else value)


def shown(item: VM | Request) -> dict[str, Any]:
    if isinstance(item, Request):
        return {key: value for key, value in asdict(item).items() if key != "headers"}
    return {
        "endpoint": item.endpoint,
        "account": item.account.email,
        "accelerator": item.accelerator,
        "url": item.url,
        "highRam": item.high_ram,
        "origin": item.origin,
        "created": item.created,
        "lastActivity": item.last_activity,
        "folder": str(item.machine.folder),
    }


def _plain(value: object) -> Any:
    return sorted(value) if isinstance(value, (set, frozenset)) else str(value)


ROUTES: list[Any] = [
    (r"/__sim/state", State),
    (r"/__sim/requests", Requests),
    (r"/__sim/advance", Advance),
    (r"/__sim/switches", Change),
    (r"/__sim/accounts", Accounts),
    (r"/__sim/login", Login),
    (r"/__sim/faults", Fail),
    (r"/__sim/tokens/(expire|revoke)", Tokens),
    (r"/__sim/vms", VMs),
    (r"/__sim/vms/([\w-]+)/(kill|expire|drop|move)", OneVM),
]
