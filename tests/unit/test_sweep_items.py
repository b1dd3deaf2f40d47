"""The items of a sweep: values and ranges, files, identities, and what becomes of the command."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.guest import item_folder
from lecoder_cgpu.sweeps import code, grid, identity, standing, template
from lecoder_cgpu.sweeps.identity import Identity
from lecoder_cgpu.sweeps.store import Note


@pytest.mark.parametrize(
    ("spec", "values"),
    [
        ("x=1", "1"),
        ("lr=0.1,0.01", "0.1 0.01"),
        ("seed=0..4", "0 1 2 3 4"),
        ("n=0..10..4,7", "0 4 8 7"),
        ("n=3..1..-1", "3 2 1"),
        ("n=08..10", "08 09 10"),
        ("n=-1..1", "-1 0 1"),
        (r"x=a\,b,c", "a,b c"),
        ("dir=../data,./a..b,v1.2", "../data ./a..b v1.2"),
        ("eq=a=b", "a=b"),
    ],
)
def test_values(spec: str, values: str) -> None:
    """Values, and ranges of whole numbers with both ends."""
    assert list(grid.parameter(spec).values) == values.split()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("x", "no values"),
        ("x=", "no values"),
        ("x=1,,2", "an empty value"),
        ("=1", "cannot be the name"),
        ("learning-rate=1", "cannot be the name"),
        ("key=1", "own key"),
        ("x=0..", "not a range"),
        ("x=..4", "not a range"),
        ("x=0..4..", "not a range"),
        ("x=0.1..0.5", "not a range"),
        ("x=1..n", "not a range"),
        ("x=4..0", "never gets"),
        ("x=0..4..0", "never gets"),
        ("x=0..4..-1", "never gets"),
        ("x=0..99999999999", "more than one sweep"),
    ],
)
def test_what_is_no_value(spec: str, said: str) -> None:
    """Each is refused with what to type instead, and a huge range takes no memory."""
    with pytest.raises(errors.UsageError) as refused:
        grid.parameter(spec)
    assert said in refused.value.message
    assert refused.value.hint


def test_a_grid_is_told() -> None:
    """The expansion names the values; doubles count once, and are told."""
    made = grid.make(["seed=0..4", "lr=0.1,0.1"], None)
    assert [one.expansion() for one in made.parameters] == ["seed: 5 values: 0 1 2 3 4", "lr: 1 value: 0.1"]
    assert made.doubles() == ["lr: 0.1 is given twice, and counts once"]
    assert len(made) == len(list(made)) == 5
    assert grid.parameter("n=0..99").expansion() == "n: 100 values: 0 1 2 3 4 5 6 7 8 9 10 … 99"
    assert grid.parameter("n=1..12").expansion() == "n: 12 values: 1 2 3 4 5 6 7 8 9 10 11 12"
    with pytest.raises(errors.UsageError, match="given twice"):
        grid.make(["x=1", "x=2"], None)
    with pytest.raises(errors.UsageError, match="no values"):
        grid.make([], None)


def test_an_item_is_its_values() -> None:
    """Neither its place in the grid nor the order of the parameters changes the key."""
    one = {item.key: item.values for item in grid.make(["a=1,2", "b=3,4"], None)}
    other = {item.key: item.values for item in grid.make(["b=4,3,5", "a=2,1"], None)}
    assert {key: other[key] for key in one} == one
    assert len(other) == 6


def test_a_file(tmp_path: Path) -> None:
    """Each line is an item; numbers stay as they are written. A line that does not fit is named."""
    file = tmp_path / "runs.jsonl"
    file.write_text('{"lr": 1e-3, "name": "a b", "on": true}\n\n{"name": "c", "lr": 0.10, "on": false}\n')
    made = grid.make(["seed=0,1"], str(file))
    assert [item.described() for item in made] == [
        "lr=1e-3 name=a b on=true seed=0",
        "lr=1e-3 name=a b on=true seed=1",
        "lr=0.10 name=c on=false seed=0",
        "lr=0.10 name=c on=false seed=1",
    ]
    file.write_text('{"lr": 1}\n{"lr": 2}\n{"lr": 1}\n')
    assert grid.make([], str(file)).doubles() == [
        "the file has lines with the values of earlier ones, which count once: 3"
    ]
    with pytest.raises(errors.UsageError, match="given twice"):
        grid.make(["lr=3"], str(file))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"lr": 1, "seed": 2', "line 2 is not JSON"),
        ("[1, 2]", "line 2 is not an object"),
        ("{}", "line 2 is not an object"),
        ('{"lr": 1}', "line 2 has no value for seed"),
        ('{"lr": 1, "seed": 2, "x": 3}', "line 2 has x, which"),
        ('{"lr": 1, "seed": null}', "line 2: the value of seed"),
        ('{"lr": 1, "seed": [1]}', "line 2: the value of seed"),
        ('{"lr": 1, "lr": 2, "seed": 1}', "line 2 gives lr twice"),
        ('{"lr": 1, "a b": 2}', "cannot be the name"),
    ],
)
def test_a_bad_line(tmp_path: Path, line: str, said: str) -> None:
    file = tmp_path / "runs.jsonl"
    file.write_text('{"lr": 1, "seed": 1}\n' + line + "\n")
    with pytest.raises(errors.UsageError) as refused:
        grid.make([], str(file))
    assert said in refused.value.message


ITEM = grid.item({"lr": "0.1", "name": "a b"})


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("--lr={lr}", "--lr=0.1"),
        ("{lr}{lr}", "0.10.1"),
        ("out/{key}", f"out/{ITEM.key}"),
        ("{{lr}}", "{lr}"),
        ("{{{lr}}}", "{0.1}"),
        ('{"a": {"lr": {lr}}}', '{"a": {"lr": 0.1}}'),
        ("{other} {} {0} ${HOME}", "{other} {} {0} ${HOME}"),
        ("awk '{print $1}'", "awk '{print $1}'"),
    ],
)
def test_only_parameters_are_replaced(text: str, made: str) -> None:
    """All other braces stay; two are one, with their end."""
    assert template.expand(text, ITEM) == made


def test_values_in_a_line_for_the_shell_are_quoted() -> None:
    assert template.command(["echo {name} | cat"], ITEM) == ["echo 'a b' | cat"]
    assert template.command(["echo", "{name}"], ITEM) == ["echo", "a b"]


@pytest.mark.parametrize("near", ["{lrs}", "{Name}", "{ lr }", "{lr:.3f}", "{nane}", "{Key}"])
def test_what_is_nearly_a_parameter(near: str) -> None:
    """It would run every item with the same text."""
    with pytest.raises(errors.UsageError, match="did you mean"):
        template.check([f"x {near}"], ["lr", "name"])


def test_what_is_no_parameter() -> None:
    """It stays as it is, unless no parameter is used."""
    template.check(["{lr}", "{print}", '{"lr": 1}', "{}", "{0}", "{a b}", "{{lrs}}"], ["lr", "name"])
    template.check(["$LECODER_CGPU_PARAM_lr", "{print}"], ["lr"])
    template.check(['{"seed": 1}', "{{print}}"], ["lr"])
    with pytest.raises(errors.UsageError, match="every item would be the same"):
        template.check(["echo", "{seed}"], ["lr"])


def test_results_have_places_of_their_own() -> None:
    """Two items, or two results of one, are never fetched to the same place."""
    items = list(grid.make(["x=1,2"], None))
    for pulls in (["out:results/{key}", "log:logs/{x}.txt"], ["out/{x}"], ["out:res/{x}/", "log:res/{x}/"], []):
        template.check_targets(pulls, items)
    for pulls in (["out"], ["out:res"], ["out:res/"], ["a:{key}", "b:{key}"], ["a:./{key}", "b:x/../{key}"]):
        with pytest.raises(errors.UsageError, match="would land in"):
            template.check_targets(pulls, items)


@pytest.mark.parametrize(
    ("value", "pull"),
    [
        ("../../x", "out:results/{x}"), ("/etc/cron.d/x", "out:{x}"), ("~/x", "out:{x}"), ("a/../../b", "out:r/{x}"),
        ("a:/etc/x", "out/{x}"), ("a:b", "{x}:results/{key}"), ("..\\x", "out:results\\{x}"),
    ],
)  # fmt: skip
def test_a_value_leads_nowhere_else(value: str, pull: str) -> None:
    """Values often come from files that others have written."""
    items = list(grid.make([f"x={value}"], None))
    with pytest.raises(errors.UsageError, match="would land elsewhere"):
        template.check_targets([pull], items)
    template.check_targets(["/content/out:results/{key}", "out:./{key}/a"], items)


def test_a_sweep_is_its_command_code_and_request() -> None:
    """What differs is named."""
    known = Identity(command=["a", "{x}"], code={"a.py": "1", "b.py": "2"}, request={"--gpu T4": ""})
    same = Identity(command=["a", "{x}"], code={"b.py": "2", "a.py": "1"}, request={"--gpu T4": ""})
    assert known.id == same.id
    identity.check_same("n", known, same)
    other = Identity(command=["b", "{x}"], code={"a.py": "1", "b.py": "3"}, request={"--gpu L4": ""})
    assert other.id != known.id
    with pytest.raises(errors.UsageError) as refused:
        identity.check_same("n", known, other)
    assert refused.value.message == (
        "there is another sweep 'n': its command is 'a {x}', not 'b {x}'; its code was another one: b.py; "
        "it asks for --gpu T4, not --gpu L4"
    )


def test_results_are_no_code(tmp_path: Path) -> None:
    """What the sweep writes into the folder that it sends is neither sent nor a change."""
    (tmp_path / "train.py").write_text("1")
    (tmp_path / ".gitignore").write_text("*.pt\n")
    (tmp_path / "model.pt").write_text("large")
    own = code.outputs(str(tmp_path), str(tmp_path), ["out:results/a/{key}", "log.txt:{lr}.txt"], "jobs.tsv")
    before = code.snapshot(str(tmp_path), own)
    assert set(before) == {"train.py", ".gitignore"}
    (tmp_path / "results" / "a" / "0123").mkdir(parents=True)
    (tmp_path / "results" / "a" / "0123" / "x").write_text("1")
    (tmp_path / "0.1.txt").write_text("1")
    (tmp_path / "jobs.tsv").write_text("1")
    assert code.snapshot(str(tmp_path), own) == before
    stored = tmp_path.parent / f"{tmp_path.name}-stored"
    code.keep(str(tmp_path), stored, own)
    (tmp_path / "train.py").write_text("2")
    assert code.snapshot(str(tmp_path), own) != before
    assert Path(code.kept(stored, before), "train.py").read_text() == "1"
    Path(stored, "code", "train.py").write_text("3")
    with pytest.raises(errors.UsageError, match=r"changed since it began: train\.py"):
        code.kept(stored, before)


def test_an_item_that_takes_two_runtimes_with_it_has_failed() -> None:
    """A loss is repeated once, under a new attempt; what is noted late of an earlier attempt changes nothing."""
    key = ITEM.key
    (one,) = standing.of([ITEM], [Note(key=key, state="started", session="A")]).values()
    assert (one.state, one.attempt) == ("running", 0)
    one.take(Note(key=key, state="lost", session="A"))
    assert (one.state, one.losses) == ("pending", 1)
    one.take(Note(key=key, state="started", attempt=1, session="B"))
    one.take(Note(key=key, state="done", attempt=0, session="A", exit=0))
    assert (one.state, one.session) == ("running", "B")
    one.take(Note(key=key, state="lost", attempt=1, session="B"))
    assert (one.state, one.losses) == ("failed", 2)
    one.again()
    assert (one.state, one.losses) == ("pending", 0)
    one.take(Note(key=key, state="started", attempt=2, session="C"))
    one.take(Note(key=key, state="void", attempt=2, session="C"))
    assert (one.state, one.attempt) == ("pending", 1)


def test_a_folder_of_its_own(tmp_path: Path) -> None:
    """Small files are copied, large ones share their content, links stay; what an earlier attempt has left goes."""
    sent = tmp_path / "code"
    (sent / "lib").mkdir(parents=True)
    (sent / "lib" / "small.py").write_text("1")
    (sent / "run.sh").write_text("#!/bin/sh")
    (sent / "run.sh").chmod(0o755)
    (sent / "large").write_bytes(b"x" * item_folder.LINKED)
    (sent / "link").symlink_to("lib/small.py")
    mine = tmp_path / "items" / "0123"
    mine.mkdir(parents=True)
    (mine / "left").touch()
    item_folder.make(str(mine), str(sent))
    assert sorted(path.name for path in mine.iterdir()) == ["large", "lib", "link", "run.sh"]
    (mine / "lib" / "small.py").write_text("2")
    assert ((sent / "lib" / "small.py").read_text(), (mine / "link").read_text()) == ("1", "2")
    assert os.access(mine / "run.sh", os.X_OK)
    assert (mine / "large").stat().st_size == item_folder.LINKED
    assert [path.name for path in mine.parent.iterdir()] == ["0123"]
