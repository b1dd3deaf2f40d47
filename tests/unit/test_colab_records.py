"""Colab's facts in a session's record, and its own figures of a runtime's hardware."""

from __future__ import annotations

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.backends.colab import records, resources
from lecoder_cgpu.backends.colab.model import Assignment, ProxyInfo
from lecoder_cgpu.backends.protocol import RuntimeRequest
from lecoder_cgpu.models.status import Memory
from lecoder_cgpu.store.session_store import Allocation, Lease, Record, new_record


def session(**fields: object) -> Record:
    record = new_record("work", "colab", "Colab GPU", "")
    record.allocation = Allocation(key="k", **fields)  # type: ignore[arg-type]
    return record


@pytest.mark.parametrize(
    ("wants", "variant", "accelerators"),
    [
        (RuntimeRequest(), "GPU", []),
        (RuntimeRequest(cpu=True), "DEFAULT", []),
        (RuntimeRequest(gpu=("t4", "l4")), "GPU", ["T4", "L4"]),
        (RuntimeRequest(tpu=()), "TPU", []),
        (RuntimeRequest(tpu=("v5e-1",)), "TPU", ["V5E1"]),
    ],
)
def test_what_is_asked_for(wants: RuntimeRequest, variant: str, accelerators: list[str]) -> None:
    """A request becomes an allocation that was not sent yet, under a key of its own."""
    first, second = records.allocation_for(wants), records.allocation_for(wants)
    assert (first.variant, first.accelerators, first.state, first.sent) == (variant, accelerators, "asked", False)
    assert first.key != second.key


@pytest.mark.parametrize("wants", [RuntimeRequest(gpu=("fast",)), RuntimeRequest(gpu=("v5e1",))])
def test_what_cannot_be_asked_for(wants: RuntimeRequest) -> None:
    """What is no accelerator's name, or that of a TPU where a GPU is wanted, is refused before Colab is asked."""
    with pytest.raises(errors.UsageError) as caught:
        records.allocation_for(wants)
    assert caught.value.name == "UnknownAccelerator"


@pytest.mark.parametrize("name", ["V9", "v5", "X", "T4", "V28", "K80"])
def test_no_hint_leads_back(name: str) -> None:
    """What one option calls the other kind's, the other option takes for a name."""
    gpu, tpu = RuntimeRequest(gpu=(name,)), RuntimeRequest(tpu=(name,))
    for wants, other, option in ((gpu, tpu, "--tpu"), (tpu, gpu, "--gpu")):
        try:
            records.allocation_for(wants)
        except errors.UsageError as error:
            if f"{option} {name}" in (error.hint or ""):
                records.allocation_for(other)


def test_what_colab_gave_is_written_down() -> None:
    """Address, token and accelerator come from the assignment; what a later listing leaves out stays as it was."""
    record = session()
    proxy = ProxyInfo(url="https://x.example/", token="secret", lifetime=60.0)
    records.take(
        record, Assignment(endpoint="e", variant="GPU", accelerator="T4", proxy=proxy, address="a", tier="pro")
    )
    records.take(record, Assignment(endpoint="e", variant="GPU", accelerator="T4"))
    assert (record.label, record.runtime.accelerator, record.runtime.endpoint) == ("Colab GPU T4", "T4", "e")
    assert record.allocation is not None
    assert (record.allocation.address, record.allocation.tier) == ("a", "pro")
    assert record.runtime.proxy is not None
    assert record.runtime.proxy.token == "secret"
    assert records.endpoint(record, "me").extra == {
        "X-Colab-Runtime-Proxy-Token": "secret",
        "X-Colab-Client-Agent": "me",
    }


def test_a_record_of_the_predecessor() -> None:
    """It has no allocation; its runtime is taken to be there, on the plane that the predecessor used."""
    record = session()
    record.allocation, record.variant, record.runtime.accelerator = None, "GPU", "t4"
    assert records.of_predecessor(record) == Allocation(state="ready", variant="GPU", accelerators=["T4"])
    assert records.plane_of(record) == "tunnel"


def test_the_error_for_a_lost_runtime_says_why() -> None:
    """A lease that ended it is named; otherwise it is gone, and nobody knows why."""
    record = session(state="lost")
    assert records.lost(record).name == "RuntimeLost"
    record.lease = Lease(began=0.0, ended="units", why="it had cost 3 of 3 compute units (--max-units)")
    assert (records.lost(record).name, records.lost(record).code) == ("LeaseEnded", 2008)


def test_hardware_in_our_words() -> None:
    """GPUs, memory and disk are taken as they come; nothing is made up for what is missing or makes no sense."""
    machine = resources.parsed(
        {
            "gpus": [
                {"name": "Tesla T4", "gpuUtilization": 0.25, "memoryTotalBytes": 1000, "memoryUsedBytes": 100},
                {"memoryTotalBytes": float("inf")},
                "odd",
            ],
            "memory": {"totalBytes": 2000, "freeBytes": 500},
            "disks": [{"filesystem": {"totalBytes": 10, "usedBytes": 4}}],
        }
    )
    assert [gpu.name for gpu in machine.gpus] == ["Tesla T4", "unknown"]
    assert (machine.gpus[0].utilization.gpu, machine.gpus[0].utilization.memory) == ("25%", "10%")
    assert machine.gpus[1].utilization.gpu == "unknown"
    assert (machine.host.kind, machine.host.memory) == ("gpu", Memory.of(2000, 1500))
    assert machine.host.disk == Memory.of(10, 4)


@pytest.mark.parametrize("answer", [{}, {"gpus": None, "disks": 3, "memory": []}, {"disks": [{"filesystem": "x"}]}])
def test_hardware_that_is_not_told(answer: dict[str, object]) -> None:
    """An answer without figures is a machine without figures."""
    machine = resources.parsed(answer)
    assert (machine.gpus, machine.host.kind) == ([], "cpu")
