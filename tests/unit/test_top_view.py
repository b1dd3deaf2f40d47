"""What `top` shows of a look: whole lines at any size, the curve of the looks before, and nothing that is not known."""

from __future__ import annotations

import pytest

from lecoder_cgpu.cli import looks, top_view
from lecoder_cgpu.cli.top_view import Trends, View
from lecoder_cgpu.models.keeper import LeaseInfo
from lecoder_cgpu.models.status import (
    Gpu,
    GpuProcess,
    Host,
    Memory,
    Remaining,
    RuntimeStatus,
    Top,
    UnderWay,
    Units,
    Utilization,
)

STARTED = "2025-11-30T10:50:00.000Z"
NOW = 1_764_500_000.0  # 2025-11-30T10:53:20Z


def look(percent: float = 30.0, use: str = "50%", balance: float = 12.5) -> Top:
    """Two sessions: one with two GPUs and three runs, and one that does not answer."""
    gpus = [
        Gpu(index=0, name="NVIDIA H200", utilization=Utilization(gpu=use, memory="50%"), memory=Memory.of(100, 50)),
        Gpu(index=1, name="NVIDIA H200", utilization=Utilization(gpu="unknown", memory="unknown")),
    ]
    bar = "30%|###       | 3/10 [00:06<01:14,  2.5it/s]"
    running = [
        UnderWay(run="run-aaaaaaaaaaaaaaaa", command="python train.py", started=STARTED, percent=30.0, line=bar),
        UnderWay(run="run-bbbbbbbbbbbbbbbb", command="x\x1b[2J\ny", started=STARTED, percent=percent, cpu_percent=99.0),
        UnderWay(run="run-cccccccccccccccc", command="later", name="queue", state="queued", rss_bytes=5 << 20),
    ]
    first = RuntimeStatus(
        label="Colab GPU H200", endpoint="gpu-1", accelerator="H200", connected=True, backend="colab", session="big",
        gpus=gpus, running=running, host=Host(kind="gpu", cpus=8.0, memory=Memory.of(100, 25)),
        gpu_processes=[GpuProcess(pid=7, name="/usr/bin/python3", memory_bytes=1 << 31, run="run-aaaaaaaaaaaaaaaa")],
        remaining=[Remaining(run="run-dddddddddddddddd", pid=9, command="tensorboard")],
        lease=LeaseInfo(units_spent=0.25), units_per_hour=4.5,
    )  # fmt: skip
    lost = RuntimeStatus(
        label="Colab GPU T4", endpoint="gpu-2", accelerator="T4", connected=False, backend="colab", session="small",
        problem="it does not answer",
    )  # fmt: skip
    return Top(sampled=STARTED, runtimes=[first, lost], units=Units(balance=balance, per_hour=4.5, hours_left=2.77))


def drawn(document: Top, trends: Trends | None = None, columns: int = 80, sort: str = "newest") -> list[str]:
    view = View(trends or Trends(), columns, looks.plain, sort, NOW)
    return [*top_view.head(document, view), *top_view.body(document, view)]


def test_what_is_shown_at_80_columns() -> None:
    """Money, each GPU with its figures, who uses it, and each run with how far it is; unknown figures are dashes."""
    text = drawn(look())
    whole = "\n".join(text)
    assert "2 sessions  12.5 units left  4.5 an hour  for 2.8 h" in text[0]
    assert "big  Colab GPU H200  4.5 units/h  0.25 spent" in whole
    assert "GPU 0 NVIDIA H200  50%" in whole
    assert "GPU 1 NVIDIA H200    -" in whole
    assert "on GPU 7  2.0 GB  python3  of run-aaaaaaaa" in whole
    assert "left   9  tensorboard  by run-dddddddd" in whole
    assert "small  Colab GPU T4  not reachable\n  it does not answer" in whole
    runs = {line.split()[0]: line.split() for line in text if line.startswith("run-")}
    assert runs["run-aaaaaaaa"][1:] == ["3", "min", "30%", "2.5", "it/s", "01:14", "python", "train.py"]
    assert runs["run-bbbbbbbb"][1:5] == ["3", "min", "99%", "30%"]
    assert "\x1b" not in whole


@pytest.mark.parametrize("columns", [1, 8, 20, 40, 60, 79, 200])
def test_no_line_is_wider_than_the_terminal(columns: int) -> None:
    """Whatever has no room is left out or cut."""
    trends = Trends()
    for number in range(30):
        trends.note(look(), float(number))
    for line in drawn(look(), trends, columns):
        assert looks.width(line) <= columns or line.startswith(("ID", "run-")), line
        assert looks.width(line) <= max(columns, 30)


def test_the_curve_of_the_looks_before() -> None:
    """The newest look is at the right; where nothing was known is a blank."""
    trends = Trends()
    for number, use in enumerate(("0%", "100%", "unknown", "50%")):
        trends.note(look(use=use), float(number))
    assert trends.line("gpu-1", "gpu 0", "use", 10) == "▁█ ▅"
    assert trends.line("gpu-1", "gpu 0", "use", 2) == " ▅"
    assert trends.line("gpu-1", "gpu 0", "use", 0) == trends.line("gpu-1", "gpu 1", "use", 9) == ""
    assert trends.line("gpu-1", "host", "memory", 9) == "▃▃▃▃"


def test_when_a_run_will_be_done() -> None:
    """As it says itself, else from the percentages of looks that are far enough apart; a new bar begins anew."""
    trends = Trends()
    trends.note(look(percent=10.0), 0.0)
    assert trends.left("run-bbbbbbbbbbbbbbbb") is None
    trends.note(look(percent=20.0), 10.0)
    assert trends.left("run-bbbbbbbbbbbbbbbb") == 80.0
    assert "~80 s" not in "\n".join(drawn(look(percent=20.0)))
    assert "~80 s" in "\n".join(drawn(look(percent=20.0), trends))
    trends.note(look(percent=1.0), 20.0)
    assert trends.left("run-bbbbbbbbbbbbbbbb") is None


def test_what_was_spent_since_the_first_look() -> None:
    trends = Trends()
    trends.note(look(), 0.0)
    assert "spent since" not in drawn(look(), trends, 200)[0]
    assert "0.5 spent since" in drawn(look(balance=12.0), trends, 200)[0]


@pytest.mark.parametrize(
    ("sort", "first"), [("newest", "a"), ("CPU", "b"), ("memory", "c"), ("done", "a"), ("session", "a")]
)
def test_sorting(sort: str, first: str) -> None:
    """The largest comes first; what has no such figure comes last."""
    assert next(line[4] for line in drawn(look(), sort=sort) if line.startswith("run-")) == first


@pytest.mark.parametrize(
    ("line", "rate"),
    [
        ("10/10 [00:01<00:00,  8.72it/s]", "8.72 it/s"),
        ("1.5s/it", "1.5 s/it"),
        ("5/5 - 0s 12ms/step - loss: 0.1", "12 ms/step"),
        ("350 samples/s", "350 samples/s"),
        ("1/1 took 5 s", ""),
    ],
)
def test_rates(line: str, rate: str) -> None:
    assert top_view.rate(UnderWay(run="run-1", command="", line=line)) == rate


def test_nothing_is_said_to_run_only_where_that_is_known() -> None:
    document = look()
    document.runtimes[0].running = []
    assert "nothing runs" not in drawn(document)
    del document.runtimes[1]
    assert "nothing runs" in drawn(document)
    document.runtimes = []
    assert drawn(document)[-1].startswith("no runtime is held")
