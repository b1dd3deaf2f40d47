"""One assigned VM: its proxy tokens, its front door, and the machine behind it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from .front import Front
from .inside import Inside
from .machine import Machine
from .ssh import Ssh
from .state import PORT, Account, jwt
from .tty import Screen

if TYPE_CHECKING:
    from .world import World


LOST: tuple[Literal["404", "500", "refused"], ...] = ("404", "refused", "500")


@dataclass(frozen=True)
class Pass:
    """Which port a proxy token opens, and until when."""

    port: int
    expires: float


@dataclass(frozen=True)
class Order:
    """What was asked for, by whom, and from where: `origin` is `client`, or `browser` for Colab's own pages."""

    account: Account
    variant: str
    accelerator: str
    high_ram: bool
    version: str
    runtime_id: str | None
    origin: str


class VM:
    """A VM as Google sees it."""

    def __init__(self, world: World, endpoint: str, order: Order, nbh: str, number: int) -> None:
        self.world = world
        self.endpoint = endpoint
        self.account = order.account
        self.nbh = nbh
        self.variant = order.variant
        self.accelerator = order.accelerator
        self.high_ram = order.high_ram
        self.version = order.version
        self.runtime_id = order.runtime_id or endpoint
        self.origin = order.origin
        self.number = number
        self.created = self.last_activity = world.clock.now()
        self.tokens: dict[str, Pass] = {}
        self.propagated: set[str] = set()  # auth types whose credentials the VM has
        self.gone = False
        self.attached = False  # whether a kernel's socket was ever open
        self.boot_requests = world.switches.boot_requests
        self.machine = Machine(world.folder / endpoint, order.accelerator, world.python)
        self.inside = Inside(self)
        self.screen = Screen(self)
        self.ssh: Ssh | None = None  # the connection that has the only place
        self.front = Front(self)
        self._started: asyncio.Future[None] | None = None  # None until a request needs the machine
        self._files_started: asyncio.Future[None] | None = None

    async def open(self) -> None:
        """Open its front door. The machine behind it starts with the first request that needs it."""
        await self.inside.open()
        await self.front.open()

    @property
    def url(self) -> str:
        """The proxy's address of the Jupyter server."""
        return self.address(PORT)

    def address(self, port: int) -> str:
        """The proxy's address of a port. Clients must not rely on whether it ends with a slash."""
        slash = self.world.switches.trailing_slash
        return self.front.address(port) + ("/" if (self.number % 2 == 0 if slash is None else slash) else "")

    def new_token(self, port: int = PORT) -> dict[str, Any]:
        """A fresh proxy token for a port, as the tunnel describes it."""
        switches = self.world.switches
        expires = self.world.clock.now() + switches.proxy_ttl
        claims = {"aud": self.endpoint, "exp": int(expires + switches.proxy_exp_skew), "port": port}
        token = f"fake-{secrets.token_urlsafe(32)}" if switches.opaque_tokens else jwt(claims)
        self.tokens[token] = Pass(port, expires)
        said = switches.proxy_ttl if switches.proxy_ttl_said is None else switches.proxy_ttl_said
        return {"token": token, "tokenExpiresInSeconds": said, "url": self.address(port)}

    def admits(self, token: str | None, port: int = PORT) -> bool:
        """Whether the token opens that port now."""
        found = self.tokens.get(token or "")
        return found is not None and found.port == port and not self._over(token)

    def _over(self, token: str | None) -> bool:
        found = self.tokens.get(token or "")
        return found is None or found.expires <= self.world.clock.now()

    async def ready(self) -> None:
        """Wait until the machine answers; start it if necessary."""
        if self._started is None:
            loop = asyncio.get_running_loop()
            terminals = self.world.switches.terminals
            self._started = loop.run_in_executor(
                None, lambda: self.machine.start(self.inside.address, terminals=terminals)
            )
        await asyncio.shield(self._started)

    async def files_ready(self) -> None:
        """The same for the machine's server of files."""
        if self._files_started is None:
            loop = asyncio.get_running_loop()
            self._files_started = loop.run_in_executor(None, self.machine.start_files, self.inside.address)
        await asyncio.shield(self._files_started)

    def booting(self) -> bool:
        """Whether this request comes before the VM has booted."""
        if self.boot_requests > 0:
            self.boot_requests -= 1
            return True
        return self.world.clock.now() - self.created < self.world.switches.boot_seconds

    def touch(self) -> None:
        self.last_activity = self.world.clock.now()

    def reap(self) -> None:
        """End the sockets whose token has expired, and those that were silent for too long."""
        self.front.forget_idle()
        if self.world.switches.cut_on_expiry:
            self.front.cut(lambda passage: passage.websocket and self._over(passage.token))

    # --- for tests: what happens to VMs ---

    def kill(self) -> None:
        """Take the VM away, as Google does: it leaves the listing at once, and its proxy is dead."""
        self.world.kill(self)

    def expire_tokens(self) -> None:
        """Expire every proxy token."""
        self.tokens.clear()
        self.reap()

    def drop_sockets(self, *, silently: bool = False, lose_buffer: bool = False) -> int:
        """Cut the open WebSockets; returns how many there were.

        Args:
            silently: the other side is told nothing; traffic just stops.
            lose_buffer: what the server kept for a client that comes back is lost.
        """
        if lose_buffer:
            self.front.generation += 1
        return self.front.cut(lambda passage: passage.websocket, silently=silently)

    async def move(self) -> None:
        """Give the proxy another address. The old one is dead; tokens and machine stay."""
        old, self.front = self.front, Front(self)
        self.front.generation = old.generation
        await self.front.open()
        old.close()

    def end(self) -> None:
        """Stop everything. The door refuses connections, or answers 404 like a tunnel without a VM."""
        if self.gone:
            return
        self.gone = True
        self.world.ended.append(self)
        self.tokens.clear()
        lost = self.world.switches.lost
        if lost == "alternate":
            lost = LOST[self.number % len(LOST)]
        self.front.lost_status = 500 if lost == "500" else 404
        self.front.cut(lambda passage: True)
        if lost == "refused":
            self.front.close()
        self.screen.close()
        self.inside.close()
        self.world.spawn(self._end())

    async def _end(self) -> None:
        for started in (self._started, self._files_started):
            if started is not None:
                with contextlib.suppress(Exception):  # it has ended; how does not matter
                    await asyncio.shield(started)
        await asyncio.get_running_loop().run_in_executor(None, self.machine.kill)

    async def closed(self) -> None:
        """Wait until nothing of the VM is left, and close its door for good."""
        self.front.close()
        await self.front.closed()
        await self.inside.closed()
