"""A backend of the tests' own: machines that a shop on this machine rents out, for units and until a lease ends.

It is what somebody else's package would be: a distribution with an entry point (`installed`), of which the package
under test knows nothing. A machine is a real jupyter_server with real kernels. The shop is a folder; its `shop.json`
says what is in stock, what is allowed and what is rented, so that every command and the keeper see the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field, structs

from lecoder_cgpu import errors
from lecoder_cgpu.backends import local
from lecoder_cgpu.backends.protocol import Account as LenderAccount
from lecoder_cgpu.backends.protocol import (
    AcquireOptions,
    HeldRuntime,
    Leased,
    Released,
    RuntimeRequest,
)
from lecoder_cgpu.config import Config
from lecoder_cgpu.jupyter.endpoint import Endpoint
from lecoder_cgpu.models.status import Account as AccountDocument
from lecoder_cgpu.store import leases
from lecoder_cgpu.store.session_store import Allocation, Proxy, Record, State, Store, new_record
from lecoder_cgpu.system import atomic_files

SHOP = "RENTED_SHOP"  # the variable that names the shop's folder
REPOSITORY = Path(__file__).parents[2]


class Machine(Struct):
    """A machine that is rented. `key` is the renter's, empty for one that was rented elsewhere."""

    accelerator: str
    key: str = ""
    pings: int = 0


class Books(Struct):
    """What the shop writes down."""

    balance: float = 100.0
    rate: float = 2.5  # units an hour for each machine
    stock: dict[str, int] = field(default_factory=lambda: {"ZX1": 9, "ZX2": 9, "ZX3": 9})
    allowed: list[str] = field(default_factory=lambda: ["ZX1", "ZX2"])
    machines: dict[str, Machine] = field(default_factory=dict)


class Shop:
    """Rents out machines. `folder` holds its books and, one folder each, the machines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / "shop.json"

    @contextmanager
    def books(self) -> Iterator[Books]:
        """The books, to be changed in place, by one process at a time. Machines that died are struck off."""
        with atomic_files.lock(self._path, wait=90):
            content = atomic_files.read(self._path)
            books = Books() if content is None else msgspec.json.decode(content, type=Books)
            for name in [name for name in books.machines if self.server(name) is None]:
                del books.machines[name]
            yield books
            atomic_files.write_atomic(self._path, msgspec.json.encode(books))

    def server(self, name: str) -> local.Server | None:
        """The server of a machine; None when the machine is gone."""
        return local.find(self.folder / name)

    def rent(self, key: str, wanted: list[str]) -> str:
        """Rent the first of the accelerators (or a machine without one) that is free; the same key, the same machine.

        Raises:
            errors.QuotaError: none of them is allowed. errors.CapacityError: none of them is in stock.
        """
        with self.books() as books:
            for name, machine in books.machines.items():
                if key and machine.key == key:
                    return name
            allowed = [item for item in wanted if item in books.allowed]
            if wanted and not allowed:
                raise errors.QuotaError(
                    f"this account may not rent {', '.join(wanted)}", name="NotEntitled", hint="lecoder-cgpu gpus"
                )
            free = [item for item in allowed if books.stock[item] > 0]
            if wanted and not free:
                raise errors.CapacityError(
                    f"the shop has no free machine for {', '.join(allowed)} now",
                    name="NoCapacity",
                    hint="wait for one with --wait-for-capacity 2h",
                )
            accelerator = free[0] if free else "NONE"
            name = f"machine-{uuid.uuid4().hex[:8]}"
            local.start(self.folder / name)
            books.machines[name] = Machine(accelerator, key)
            return name

    def give_back(self, name: str) -> bool:
        """End a machine; False when it was gone already."""
        with self.books() as books:
            there = books.machines.pop(name, None) is not None
            local.stop(self.folder / name)
            return there

    def close(self) -> None:
        """End every machine, also those of which the books know nothing."""
        for path in self.folder.glob("machine-*"):
            local.stop(path)


class Backend(Leased):
    """The machines of one shop."""

    name = "rented"
    label = "Rented"
    lends_accelerators = True

    def __init__(self, settings: Config, state_dir: Path) -> None:
        self._store = Store(state_dir)
        self._shop = Shop(Path(os.environ[SHOP]))
        self._locks = state_dir / "rented"

    # --- sessions ---

    def create(self, name: str, wants: RuntimeRequest) -> Record:
        record = new_record(name, self.name, "Rented machine", "")
        record.variant = "GPU" if wants.gpu else "DEFAULT"
        record.allocation = Allocation(
            key=uuid.uuid4().hex,
            variant="GPU" if wants.gpu else "DEFAULT",
            accelerators=[item.upper() for item in wants.gpu],
        )
        record.lease = leases.changed(leases.lease_of(record), wants.limits)
        return record

    def serves(self, record: Record, wants: RuntimeRequest) -> bool:
        if wants.tpu is not None or wants.high_ram or (wants.cpu and record.variant == "GPU"):
            return False
        return not wants.gpu or record.runtime.accelerator in [item.upper() for item in wants.gpu]

    def state(self, record: Record) -> State:
        assert record.allocation is not None
        return record.allocation.state

    def obtain(self, record: Record, terms: AcquireOptions) -> tuple[Endpoint, bool]:
        with atomic_files.lock(self._locks / record.id, wait=90):
            self._reread(record)
            allocation = record.allocation
            assert allocation is not None
            if allocation.state == "ready":
                return self._endpoint(record), False
            replaces = allocation.state == "lost"
            if allocation.state == "closing" or (replaces and not (terms.replace and self._may_go_on(record))):
                raise _lost(record)
            if replaces:
                terms.tell(f"{_lost(record).message}, and all that was on it; a new one is started")
                allocation.key = uuid.uuid4().hex
                record.kernel = record.helper = None
            try:
                name = self._shop.rent(allocation.key or "", allocation.accelerators)
            except errors.Error:
                if not replaces:
                    self._store.remove(record.id)
                raise
            self._take(record, name)
            self._save(record)
            return self._endpoint(record), True

    @staticmethod
    def _may_go_on(record: Record) -> bool:
        return record.lease is None or record.lease.ended not in ("runtime", "units")

    def find(self, record: Record) -> Endpoint | None:
        return self._endpoint(record) if self.state(record) == "ready" else None

    def known_gone(self, record: Record) -> bool:
        return self.state(record) in ("lost", "closing")

    def is_gone(self, record: Record) -> bool:
        return self.known_gone(record) or self.certainly_gone(record)

    def certainly_gone(self, record: Record) -> bool:
        gone = bool(record.runtime.endpoint) and self._shop.server(record.runtime.endpoint) is None
        return gone or self.state(record) == "lost"

    def refresh_endpoint(self, record: Record, error: errors.Error) -> Endpoint | None:
        self.give_up(record)
        if self.known_gone(record):
            raise _lost(record)
        return None

    def give_up(self, record: Record) -> None:
        self._reread(record)
        if self.state(record) == "ready" and self.certainly_gone(record):
            self._mark(record, "lost")

    def reconcile(self, record: Record) -> bool:
        assert record.allocation is not None
        with self._shop.books() as books:
            names = [name for name, item in books.machines.items() if item.key == record.allocation.key]
        if names:
            self._take(record, names[0])
            self._save(record)
        return bool(names)

    def release(self, record: Record) -> Released:
        self._reread(record)
        if self.state(record) == "lost" or not record.runtime.endpoint:
            return "nothing"
        self._mark(record, "closing")
        return self.release_endpoint(record.runtime.endpoint)

    # --- the account ---

    def has_account(self) -> bool:
        return True

    def holder(self) -> AccountDocument:
        return AccountDocument(id="renter@example.com", label="A renter")

    def account(self) -> LenderAccount:
        with self._shop.books() as books:
            return LenderAccount(
                balance=books.balance,
                rate=books.rate * len(books.machines),
                assignments=len(books.machines),
                gpus=books.allowed,
                refused_gpus=[item for item in books.stock if item not in books.allowed],
                tier="gold",
            )

    # --- what is rented ---

    def runtimes(self) -> list[HeldRuntime]:
        with self._shop.books() as books:
            return [self._held(name, machine) for name, machine in books.machines.items()]

    def _held(self, name: str, machine: Machine) -> HeldRuntime:
        server = self._shop.server(name)
        assert server is not None
        return HeldRuntime(
            endpoint=name,
            label=_label(machine),
            variant="DEFAULT" if machine.accelerator == "NONE" else "GPU",
            accelerator=machine.accelerator,
            url=server.url,
            server=local.endpoint(server),
        )

    def adopt(self, endpoint: str, name: str) -> Record:
        with self._shop.books() as books:
            machine = books.machines.get(endpoint)
        if machine is None:
            raise errors.NotFoundError(f"the account holds no runtime {endpoint!r}", name="RuntimeNotFound")
        record = new_record(name, self.name, _label(machine), endpoint)
        record.allocation = Allocation(adopted=True, variant="DEFAULT" if machine.accelerator == "NONE" else "GPU")
        self._take(record, endpoint)
        return record

    def release_endpoint(self, endpoint: str) -> Released:
        return "runtime" if self._shop.give_back(endpoint) else "nothing"

    # --- for the keeper ---

    def keep_alive(self, record: Record) -> bool:
        with self._shop.books() as books:
            machine = books.machines.get(record.runtime.endpoint)
            if machine is None:
                raise errors.NotFoundError(f"the shop knows no machine {record.runtime.endpoint!r}", name="NotFound")
            machine.pings += 1
        return True

    def retire(self, record: Record) -> bool:
        self.release(record)
        self._mark(record, "lost")
        return True

    def close(self) -> None:
        pass

    # --- the record ---

    def _endpoint(self, record: Record) -> Endpoint:
        assert record.runtime.proxy is not None
        return Endpoint(url=record.runtime.proxy.url, token=record.runtime.proxy.token)

    def _take(self, record: Record, name: str) -> None:
        server = self._shop.server(name)
        if server is None:
            raise errors.ConnectionFailed(f"the machine {name} ended at once")
        with self._shop.books() as books:
            machine = books.machines[name]
        record.runtime.endpoint, record.runtime.accelerator = name, machine.accelerator
        record.runtime.proxy = Proxy(url=server.url, token=server.token)
        record.label = record.runtime.label = _label(machine)
        record.variant = "DEFAULT" if machine.accelerator == "NONE" else "GPU"
        assert record.allocation is not None
        record.allocation.state = "ready"

    def _mark(self, record: Record, state: State) -> None:
        assert record.allocation is not None
        record.allocation.state = state
        self._save(record)

    def _reread(self, record: Record) -> None:
        stored = self._store.get(record.id)
        if stored is not None:
            for name in ("runtime", "allocation", "variant", "label", "kernel", "helper", "lease"):
                setattr(record, name, getattr(stored, name))

    def _save(self, record: Record) -> None:
        def change(stored: Record) -> None:
            stored.runtime, stored.allocation = structs.replace(record.runtime), record.allocation
            stored.variant, stored.label = record.variant, record.label
            stored.kernel, stored.helper = record.kernel, record.helper

        self._store.change(record.id, change)


def _label(machine: Machine) -> str:
    return "Rented machine" if machine.accelerator == "NONE" else f"Rented machine {machine.accelerator}"


def _lost(record: Record) -> errors.Error:
    if record.lease is not None and record.lease.ended is not None:
        return leases.ended(record.name, record.lease)
    return errors.LostError(
        f"the runtime of session {record.name!r} is gone",
        name="RuntimeLost",
        hint=f"a new one: lecoder-cgpu sessions ensure {record.name}",
    )


def installed(folder: Path, target: str = f"{__name__}:Backend", name: str = "rented") -> dict[str, str]:
    """The variables under which a process finds this module as an installed package that brings the backend.

    Args:
        folder: where the distribution's metadata is written. target: the entry point's object. name: its name.
    """
    metadata = folder / "rented-1.0.dist-info"
    metadata.mkdir(parents=True, exist_ok=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: rented\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[lecoder_cgpu.backends]\n{name} = {target}\n")
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(REPOSITORY)])}


def rent_elsewhere(shop: Shop, accelerator: str) -> str:
    """Rent a machine as another program does, with a notebook open on it; returns its name."""
    code = (
        "import sys; from pathlib import Path; from tests.support.rented import Shop;"
        "print(Shop(Path(sys.argv[1])).rent('', [sys.argv[2]]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(shop.folder), accelerator],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    name = done.stdout.strip()
    server = shop.server(name)
    assert server is not None
    from lecoder_cgpu.jupyter.server import Server

    browser: Any = Server(local.endpoint(server))
    browser.open_session("analysis.ipynb")
    browser.close()
    return name


def kill(shop: Shop, name: str) -> None:
    """Take a machine away, as a shop may do at any time."""
    local.stop(shop.folder / name)
    deadline = time.monotonic() + 10
    while shop.server(name) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
