"""Numbers that programs print: found in every usual form, joined to series, drawn, and bounded whatever is printed."""

from __future__ import annotations

import re
import time
import xml.etree.ElementTree as ElementTree

import pytest

from lecoder_cgpu.cli import looks, plots
from lecoder_cgpu.history import curves, metrics
from lecoder_cgpu.history.metrics import Series
from lecoder_cgpu.models.history import HistoryEntry, HistoryRuntime
from lecoder_cgpu.runs.plots import _remembered

BAR = "".join(f"\r{i}%|##| {i}/100 [00:01<00:05, 8.7it/s, loss={1 / i:.3f}]" for i in range(1, 101)) + "\n"
BARS = "".join(
    "".join(f"\rEpoch {e}: {i}%|##| {i}/9 [00:01<00:05, 9it/s, loss={1 / i / e:.3f}]" for i in range(1, 10)) + "\n"
    for e in (1, 2, 3)
)
KERAS = "".join(
    f"Epoch {e}/2\n\x1b[1m 1/32\x1b[0m ━ 5s 12ms/step - accuracy: 0.1 - loss: 9\r32/32 ━ 1s 5ms/step - accuracy: 0.{e} "
    f"- loss: {e} - val_loss: 0.{e}5\n"
    for e in (1, 2)
)
TRAINER = "{'loss': 2.1, 'grad_norm': 1.2, 'epoch': 0.02}\n{'loss': 1.9, 'grad_norm': 1.1, 'epoch': 0.04}\n"
LOG = (
    "2026-11-30 07:00:00,123 INFO train.py:42 step 100 | loss 0.5 | ETA: 0:01 | http://127.0.0.1:8080\n"
    "2026-11-30 07:01:00,123 INFO train.py:42 step 200 | loss 0.4 | ETA: 0:00\n"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("epoch=1 loss=0.53\nepoch=2 loss=0.43\n", {"loss": ("epoch", [1, 2], [0.53, 0.43])}),
        ("epoch 3/10 took 5 s acc 0.91\nepoch 4/10 took 6 s acc 0.92\n", {"acc": ("epoch", [3, 4], [0.91, 0.92])}),
        ('{"step": 10, "loss": 0.5}\n{"step": 20, "loss": 4e-1}\n', {"loss": ("step", [10, 20], [0.5, 0.4])}),
        (
            "Epoch 1/3: train loss: 0.5, val_loss: .7\nEpoch 2/3: train loss: 0.4, val_loss: .6\n",
            {"train_loss": ("epoch", [1, 2], [0.5, 0.4]), "val_loss": ("epoch", [1, 2], [0.7, 0.6])},
        ),
        (TRAINER, {"loss": ("epoch", [0.02, 0.04], [2.1, 1.9]), "grad_norm": ("epoch", [0.02, 0.04], [1.2, 1.1])}),
        (LOG, {"loss": ("step", [100, 200], [0.5, 0.4])}),
        ("[0]\ttrain-rmse:0.5\n[1]\ttrain-rmse:0.4\n", {"train-rmse": ("step", [0, 1], [0.5, 0.4])}),
        (
            "[1]\ttraining's l2: 0.4\tvalid_1's l2: 0.5\n[2]\ttraining's l2: 0.3\tvalid_1's l2: 0.6\n",
            {"training_l2": ("step", [1, 2], [0.4, 0.3]), "valid_1_l2": ("step", [1, 2], [0.5, 0.6])},
        ),
        (
            "epoch 1 step 9 loss 3\nepoch 1 step 10 loss 2\nepoch 2 step 9 loss 1\n",
            {"loss": ("value", [1, 2, 3], [3, 2, 1])},
        ),
        ("step 1 loss nan\nstep 2 loss 3\nstep 3 loss inf\nstep 4 loss 1\n", {"loss": ("step", [2, 4], [3, 1])}),
        (BARS, {"loss": ("epoch", [1, 2, 3], [0.111, 0.056, 0.037])}),
        (
            KERAS,
            {
                "accuracy": ("epoch", [1, 2], [0.1, 0.2]),
                "loss": ("epoch", [1, 2], [1, 2]),
                "val_loss": ("epoch", [1, 2], [0.15, 0.25]),
            },
        ),
        ("Accuracy: 98/100 (98%)\nloss once: 5\nhello 5\nat 10:30:11\n", {}),
    ],
)
def test_what_is_found(text: str, expected: dict[str, tuple[str, list[float], list[float]]]) -> None:
    found = {series.name: (series.axis, series.x, series.y) for series in metrics.read(text)}
    assert found == expected


def test_a_bar_that_is_drawn_over() -> None:
    """Each of its states is a point, at its own count."""
    (series,) = metrics.read(BAR)
    assert (series.axis, series.x, series.y[:2], series.y[-1]) == ("step", list(range(1, 101)), [1.0, 0.5], 0.01)


def test_a_pattern() -> None:
    """Without a group it is searched for in names; with one, in lines, and `step` says where the number belongs."""
    text = "at 10 took 5 s loss=1\nat 20 took 7 s loss=2\n"
    assert [item.name for item in metrics.read(text, re.compile("LOSS", re.IGNORECASE))] == ["loss"]
    assert metrics.read(text, re.compile("nothing")) == []
    (series,) = metrics.read(text, re.compile(r"at (?P<step>\d+) took (?P<seconds>\d+)"))
    assert (series.name, series.axis, series.x, series.y) == ("seconds", "step", [10, 20], [5, 7])
    assert metrics.read("took long", re.compile("took (.*)")) == []


def test_two_streams() -> None:
    """Of a name that is in both, the longer series counts."""
    found = metrics.of_streams(["loss=1\nloss=2\n", "loss=1\nloss=2\nloss=3\nacc=1\nacc=2\n"])
    assert {item.name: len(item.y) for item in found} == {"loss": 3, "acc": 2}


@pytest.mark.parametrize(
    "text",
    [
        *(piece * 10**5 for piece in ("aaaaaaaaaa", "loss", "loss= ", "1/", '"', "1e", "loss=1\r", "\x1b[")),
        ("train 1" * 500 + "\n") * 50,
        ("step" + " " * 3900 + "1\n") * 50,
        ("a.a/a-a@" * 480 + "=1\n") * 50,
    ],
)
def test_hostile_output_is_read_in_bounded_time(text: str) -> None:
    began = time.process_time()
    for series in metrics.read(text):
        assert len(series.name) < 100
    assert time.process_time() - began < 3


def test_many_points_and_names() -> None:
    found = metrics.read("".join(f"n{i}=1\nn{i}=2\n" for i in range(200)))
    assert len(found) == metrics.NAMES
    series = Series("y", "value", [float(i) for i in range(5000)], [float(i % 100) for i in range(5000)])
    thin = metrics.thinned(series, 100)
    assert len(thin.y) <= 100
    assert (min(thin.y), max(thin.y), thin.x == sorted(thin.x)) == (0.0, 99.0, True)


@pytest.mark.parametrize(
    "values", [[1.0], [1.0, 1.0], [1.0, 0.5, 2.0], [-1e308, 1e308], [0.0, 5e-324], [float(i) for i in range(3000)]]
)
def test_pictures(values: list[float]) -> None:
    """The SVG is well-formed and names nothing outside; in a terminal, every line has room, whatever the values are."""
    series = Series("</svg><script>\x1b[2J\u202e&", "step", [float(i) for i in range(len(values))], values)
    content = curves.svg([series, series], "a <title>")
    tree = ElementTree.fromstring(content)
    assert "script" not in {item.tag.partition("}")[2] for item in tree.iter()}
    assert not re.search(r"href|url\(|\x1b|nan|inf", content)
    for columns, rows in ((80, 8), (30, 4), (10, 4)):
        for line in plots.lines(series, columns, rows):
            shown = looks.drawn_line(plots.cut(line, columns), looks.plain)
            assert looks.width(shown) <= columns
            assert "\x1b" not in shown


def test_what_the_history_keeps() -> None:
    """It is all if nothing was left out."""
    runtime = HistoryRuntime(label="", accelerator="")
    entry = HistoryEntry(status="ok", timestamp="", command="", mode="kernel", id="abc", runtime=runtime)
    entry.stdout, entry.output_bytes = "loss=1", 6
    assert (_remembered(entry).run, _remembered(entry).complete, _remembered(entry).source) == ("abc", True, "history")
    entry.output_bytes = 7
    assert not _remembered(entry).complete
