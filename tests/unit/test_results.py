"""What the library returns: documents as values, with None where nothing is."""

from __future__ import annotations

import ast
import importlib
import pickle
import typing
from pathlib import Path

import msgspec
import pytest

from lecoder_cgpu import Client, errors, events, results
from lecoder_cgpu.helper.documents import RunState, Signal
from lecoder_cgpu.history.entries import History
from lecoder_cgpu.models import files, runs
from lecoder_cgpu.models.base import ErrorInfo
from lecoder_cgpu.runs import jobs


def run(**fields: typing.Any) -> runs.Run:
    return runs.Run(**{"status": "ok", "error_code": 0, "exit_code": 0, "mode": "kernel", **fields})


def test_absent_fields_are_none_and_absent_text_is_empty() -> None:
    found = results.of(run())
    assert (found.error, found.run_id, found.stdout, found.stderr, found.execution_count) == (None, None, "", "", None)
    assert "UNSET" not in repr(found)
    assert isinstance(found, results.Run)


@pytest.mark.parametrize(
    "document",
    [
        run(),
        run(error=ErrorInfo(name="E", message="m", category="runtime", description="d"), stderr="x", run_id="run-1"),
        run(pulled=[runs.Pulled(path="a", local="b", skipped=[files.Skipped(path="c", reason="d")])]),
    ],
)
def test_a_result_gives_its_document_back(document: runs.Run) -> None:
    """Also after it has been in another process."""
    found = results.of(document)
    assert found.to_dict() == msgspec.to_builtins(document)
    assert pickle.loads(pickle.dumps(found)) == found


def test_words_of_newer_versions_are_taken(tmp_path: Path) -> None:
    """Types name the words that there are; one that only a newer version has is no failure."""
    newer = RunState(run="run-1", state="paused", kind="swarm", signals=[Signal("SIGTERM", "boss", "2026")])
    job = jobs.describe(newer)
    assert (job.state, job.kind, job.reason) == ("running", "process", "its runtime calls it 'paused'")
    assert isinstance(job.stopped, runs.Stopped)
    assert job.stopped.by == "unknown"
    line = {"id": "a", "timestamp": "2026", "command": "c", "runtime": {"label": "l", "accelerator": "none"}}
    stopped = {"by": "boss", "steps": []}
    (tmp_path / "history.jsonl").write_bytes(
        b"".join(
            msgspec.json.encode(line | more) + b"\n"
            for more in ({"status": "paused", "mode": "swarm", "stopped": stopped}, {"status": 7, "mode": "kernel"})
        )
    )
    history = History(tmp_path)
    (entry,) = history.entries()
    assert (entry.status, entry.mode, history.damaged) == ("unknown", "unknown", 1)
    assert isinstance(entry.stopped, runs.Stopped)
    assert entry.stopped.by == "unknown"


def test_every_part_of_a_result_can_be_named() -> None:
    """What a field holds can be written in an annotation."""
    for name in ("Accelerator", "UnderWay", "Timing"):
        assert issubclass(getattr(results, name), results.Result)
    with pytest.raises(AttributeError):
        results.document_of("Nonsense")


def test_public_modules_name_what_is_public() -> None:
    """Each module of the library's public face has an `__all__` with all that it defines for others."""
    root = Path(results.__file__).parent
    for path in (root / "pool.py", *(root / "api").glob("*.py"), *(root / "remote_functions").glob("*.py")):
        if path.name == "__init__.py":
            continue
        name = ".".join(("lecoder_cgpu", *path.relative_to(root).with_suffix("").parts))
        module = importlib.import_module(name)
        defined = {
            node.name
            for node in ast.parse(path.read_text("utf-8")).body
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name[0] != "_"
        }
        assert defined <= set(module.__all__), name
        assert module.__all__ == sorted(module.__all__), name
        assert all(hasattr(module, item) for item in module.__all__), name
    for module in (errors, events, results):
        assert dir(module) == sorted(module.__all__) or dir(module) == module.__all__
        assert all(getattr(module, name) is not None for name in module.__all__)
    with pytest.raises(AttributeError):
        getattr(results, "nonsense")  # noqa: B009 - types know it, too


@pytest.mark.parametrize(
    ("error", "kinds"),
    [
        (errors.TimeLimit, (TimeoutError,)),
        (errors.TimeoutFailure, (TimeoutError,)),
        (errors.ConnectionFailed, (ConnectionError,)),
        (errors.ReadTimeout, (ConnectionError, TimeoutError)),
        (errors.ConnectionRefused, (ConnectionRefusedError,)),
        (errors.ImportFailure, (ImportError,)),
        (errors.MissingExtra, (ImportError,)),
        (errors.MemoryFailure, (MemoryError,)),
        (errors.FileNotFound, (FileNotFoundError, errors.NotFoundError)),
        (errors.PermissionDenied, (PermissionError,)),
    ],
)
def test_errors_are_what_python_calls_them(error: type[errors.Error], kinds: tuple[type, ...]) -> None:
    """And say what they know under the documents' names, too; also after a pickle."""
    made = pickle.loads(pickle.dumps(error("what", hint="do this", exit_status=5)))
    assert all(issubclass(type(made), kind) for kind in kinds)
    assert (str(made), made.suggestion, made.error_code, made.exit_code) == ("what", "do this", error.code, 5)
    assert made.name == error.__name__


def test_a_client_travels_by_reference(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its settings go along, and nothing secret."""
    monkeypatch.setenv("LECODER_CGPU_CONFIG_DIR", str(tmp_path))
    with Client("local") as client:
        assert repr(client) == "Client(backend='local', profile='default')"
        again = pickle.loads(pickle.dumps(client))
    assert repr(again) == repr(client)
