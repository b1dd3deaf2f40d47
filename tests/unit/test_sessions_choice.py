"""Which session a command uses, which backends it asks, and what is told of accounts and GPUs. Nothing is started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import UNSET

from lecoder_cgpu import errors
from lecoder_cgpu.backends import registry
from lecoder_cgpu.backends.protocol import Account, HeldRuntime, RuntimeRequest
from lecoder_cgpu.config import Config
from lecoder_cgpu.helper.documents import GpuReport
from lecoder_cgpu.sessions import keeper_process, operations, status
from lecoder_cgpu.sessions.manager import SessionManager
from lecoder_cgpu.sessions.starts import free_name
from lecoder_cgpu.store.leases import Limits
from lecoder_cgpu.store.session_store import Allocation, Record, new_record
from tests.support import rented


@pytest.fixture(autouse=True)
def shop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[rented.Shop]:
    """A table of backends with the tests' own in it, and its shop."""
    monkeypatch.setattr(registry, "_registered", {"rented": rented.Backend})
    monkeypatch.setenv(rented.SHOP, str(tmp_path / "shop"))
    monkeypatch.setenv("LECODER_CGPU_CONFIG_DIR", str(tmp_path / "config"))
    shop = rented.Shop(tmp_path / "shop")
    yield shop
    shop.close()


def manager(tmp_path: Path, **settings: str) -> SessionManager:
    return SessionManager(Config({"storageDir": str(tmp_path / "state"), **settings}))


def stored(found: SessionManager, name: str, backend: str, allocation: Allocation | None = None) -> Record:
    record = new_record(name, backend, name, f"{backend}:{name}")
    record.allocation = allocation
    found.store.add(record)
    return record


def test_the_active_session_is_used_unless_another_is_named(tmp_path: Path) -> None:
    """The last one added is active; a name, an id or a prefix chooses another; a closing one is never chosen."""
    found = manager(tmp_path)
    first, second = stored(found, "first", "local"), stored(found, "second", "local")
    assert found.existing(gone=True).record.id == second.id
    assert found.existing("fir", gone=True).record.id == first.id
    lost = stored(found, "third", "rented", Allocation(state="closing"))
    found.store.retire(lost.id)  # as `sessions close` does
    assert found.session().record.id == second.id


def test_a_chosen_backend_wins_over_the_active_session(tmp_path: Path) -> None:
    """With a backend that the user chose, only its sessions count."""
    found = manager(tmp_path, backend="local")
    here = stored(found, "here", "local")
    stored(found, "there", "rented", Allocation(state="ready"))
    assert found.session().record.id == here.id


@pytest.mark.parametrize(
    ("backend", "wants", "name"),
    [
        ("local", RuntimeRequest(gpu=("T4",)), "UsageError"),
        ("jupyter", RuntimeRequest(high_ram=True), "UsageError"),
        ("local", RuntimeRequest(limits=Limits(max_runtime=60.0)), "NoLease"),
    ],
)
def test_what_a_backend_does_not_have_is_refused(
    tmp_path: Path, backend: str, wants: RuntimeRequest, name: str
) -> None:
    """Before anything is stored, whatever the backend is called."""
    found = manager(tmp_path, backend=backend)
    with pytest.raises(errors.UsageError) as caught:
        found.session(wants=wants)
    assert caught.value.name == name
    assert found.store.records() == []
    found.check_kind("rented", wants)  # lends accelerators, for a lease


def test_options_that_contradict_each_other(tmp_path: Path) -> None:
    """A session that is named has a kind already; only one kind can be asked for."""
    found = manager(tmp_path)
    stored(found, "here", "local")
    for key, wants in (("here", RuntimeRequest(cpu=True)), (None, RuntimeRequest(cpu=True, gpu=("T4",)))):
        with pytest.raises(errors.UsageError) as caught:
            found.session(key, wants)
        assert caught.value.name == "ConflictingOptions"


def test_only_leased_backends_are_lenders(tmp_path: Path) -> None:
    """The chosen one comes first; one without a login is not asked, nor one that is unknown."""
    found = manager(tmp_path, backend="rented")
    records = [stored(found, name, name) for name in ("local", "colab", "nowhere")]
    assert [item.name for item in operations.lenders(found, records)] == ["rented"]
    assert found.lender().name == "rented"
    assert (found.leased("local"), found.leased("nowhere")) == (None, None)
    usual = manager(tmp_path, backend="local")
    assert usual.lender().name == registry.DEFAULT
    assert operations.lenders(usual, []) == []


def test_a_record_of_an_unknown_backend_hides_nothing(tmp_path: Path) -> None:
    """It is listed as one that cannot be reached."""
    found = manager(tmp_path)
    document = operations.inspect(found, stored(found, "old", "nowhere"))
    assert (document.status, document.origin) == ("unreachable", UNSET)


def test_the_origin_of_a_runtime_without_an_address_is_not_known() -> None:
    """Nobody is asked then."""
    runtime = HeldRuntime(endpoint="e", label="", variant="GPU", accelerator="T4")
    assert operations.origin(runtime) == "elsewhere"


def test_names_that_are_free(tmp_path: Path) -> None:
    """A name that is taken gets the first number that is not."""
    found = manager(tmp_path)
    records = [stored(found, name, "local") for name in ("local", "local-2")]
    assert (free_name("local", records), free_name("other", records)) == ("local-3", "other")


def test_units_leave_out_what_is_not_known() -> None:
    """Nothing that a lender does not say is taken for zero."""
    assert status.units(Account()).balance is UNSET
    told = status.units(Account(balance=10.0, rate=2.0, free_units=2.0, refills_at=0.0))
    assert (told.balance, told.hours_left, told.refills_at) == (10.0, 6.0, "1970-01-01T00:00:00.000Z")
    assert status.units(Account(balance=10.0, rate=0.0)).hours_left is UNSET


def test_a_gpu_without_figures_is_unknown_not_idle() -> None:
    """What the driver does not tell is said as unknown, or left out."""
    gpu = status.gpu_document(GpuReport(index=0, name="T4"))
    assert (gpu.utilization.gpu, gpu.utilization.memory, gpu.memory) == ("unknown", "unknown", UNSET)


def test_the_keepers_record(tmp_path: Path) -> None:
    """A record names its process exactly; a damaged one counts as none; stopping where nothing runs is no failure."""
    assert keeper_process.read(tmp_path) is None
    record = keeper_process.new_record(os.getpid())
    keeper_process.write(tmp_path, record)
    assert keeper_process.read(tmp_path) == record
    assert keeper_process.is_alive(record)
    record.identity = "another process with that id"
    assert not keeper_process.is_alive(record)
    keeper_process.path(tmp_path).write_text("{")
    assert keeper_process.read(tmp_path) is None
    assert keeper_process.stop(tmp_path) is False
