"""What holds for every document: names as JSON has them, and a failure in the form that all failures have."""

from __future__ import annotations

import importlib
import pkgutil
import re
from typing import Any

import msgspec
import pytest

from lecoder_cgpu import models

MODULES = [importlib.import_module(f"{models.__name__}.{item.name}") for item in pkgutil.iter_modules(models.__path__)]
DOCUMENTS: dict[str, Any] = {
    name: document for module in MODULES for name, document in getattr(module, "DOCUMENTS", {}).items()
}
STRUCTS = {name: kind for name, kind in DOCUMENTS.items() if isinstance(kind, type)}


def test_there_are_documents() -> None:
    assert len(DOCUMENTS) > 20
    assert len(STRUCTS) > 20


@pytest.mark.parametrize("name", STRUCTS)
def test_a_document_says_how_it_went(name: str) -> None:
    """Whoever reads documents finds `status` in each, and `errorCode` and `error` under these names."""
    fields = {item.encode_name: item for item in msgspec.structs.fields(STRUCTS[name])}
    if "error_code" in {item.name for item in fields.values()}:
        assert "errorCode" in fields
        assert "status" in fields


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_schema_can_be_made(name: str) -> None:
    """Each document is described completely, with a text for people."""
    _, definitions = msgspec.json.schema_components([DOCUMENTS[name]])
    assert definitions
    assert [title for title, schema in definitions.items() if not schema.get("description")] == []
    for title, schema in definitions.items():
        for field in schema.get("properties", {}):
            assert re.fullmatch(r"[A-Za-z][A-Za-z0-9]*(_[a-z]+)*", field), f"{title}.{field}"
