"""The Colab API as control plane: the same commands, held against Google's own discovery document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu.testing.colab import FakeColab
from tests.support.cli import Cli
from tests.support.colab import without_kernels


@pytest.fixture
def colab(colab: FakeColab) -> FakeColab:
    """A fake Colab whose runtimes boot at once and have no kernels."""
    return without_kernels(colab)


@pytest.fixture
def cli(colab_cli: Cli) -> Cli:
    """A command line that is logged in to it and uses the public API."""
    colab_cli.variables["LECODER_CGPU_COLAB_API"] = "public"
    return colab_cli


def discovery() -> dict[str, Any]:
    """The discovery document that google-api-python-client ships."""
    folder = Path(pytest.importorskip("googleapiclient").__file__).parent / "discovery_cache" / "documents"
    document: dict[str, Any] = json.loads((folder / "colaboratory.v1beta.json").read_text())
    return document


def methods(resources: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for resource in resources.values():
        yield from resource.get("methods", {}).values()
        yield from methods(resource.get("resources", {}))


def known(document: dict[str, Any], method: str, path: str) -> dict[str, Any] | None:
    """The method of the API that a request is, None when it has none like that."""
    for item in methods(document["resources"]):
        template = item.get("flatPath") or item["path"]
        pattern = re.sub(r"\\\{[^}]+\\\}", "[^/:]+", re.escape(template))
        if item["httpMethod"] == method and re.fullmatch("/?" + pattern, path.lstrip("/")):
            return item
    return None


def test_the_life_of_a_session(colab: FakeColab, cli: Cli) -> None:
    """Created, listed, renewed, shown, released; every request is one that Google's document describes (F38)."""
    colab.account.upgrade()
    colab.switches.lro_polls = 2
    made = cli("sessions", "create", "a", "--gpu", "L4", "--json").json
    assert made["session"]["label"] == "Colab GPU L4", made
    assert cli("sessions", "ensure", "a", "--gpu", "L4", "--json").json["fresh"] is False
    colab.expire_proxy_tokens()
    (listed,) = cli("sessions", "list", "--json").json
    assert (listed["status"], listed["origin"]) == ("active", "ours")
    status = cli("status", "--json").json
    assert status["tier"] == "pro"
    assert "L4" in status["eligibleGpus"]
    assert status["units"]["balance"] > 0
    assert cli("sessions", "close", "a", "--json").json["closed"][0]["released"] == "runtime"
    assert colab.vms == {}
    document = discovery()
    asked = [request for request in colab.requests if request.role == "public"]
    assert asked
    for request in asked:
        found = known(document, request.method, request.path)
        if found is None and request.path.startswith("/v1/operations"):
            found = known({"resources": _v1()}, request.method, request.path)
        assert found is not None, request
        allowed = found.get("parameters", {}).keys() | document["parameters"].keys()
        assert request.query.keys() <= allowed, request
    assert all(request.role in ("public", "tunnel", "proxy", "oauth") for request in colab.requests)


def _v1() -> dict[str, Any]:
    folder = Path(pytest.importorskip("googleapiclient").__file__).parent / "discovery_cache" / "documents"
    document: dict[str, Any] = json.loads((folder / "colaboratory.v1.json").read_text())
    resources: dict[str, Any] = document["resources"]
    return resources


def test_the_bodies_are_those_of_the_document() -> None:
    """Every enum value and field that we send or read is in Google's schemas."""
    text = json.dumps(discovery()["schemas"])
    for word in (
        "VARIANT_CPU",
        "VARIANT_GPU",
        "VARIANT_TPU",
        "SHAPE_STANDARD",
        "SHAPE_HIGHMEM",
        "SUBSCRIPTION_TIER_PRO_PLUS",
        "runtimeSpec",
        "connectionInfo",
        "expireTime",
        "runtimeSpecs",
        "eligible",
    ):
        assert f'"{word}"' in text, word


@pytest.mark.parametrize(
    ("fields", "options", "code", "name"),
    [
        ({"max_vms": 0}, ["--cpu"], 2002, "UsageLimit"),
        ({"denylisted": True}, ["--cpu"], 2007, "AccountBlocked"),
        ({"outcome": 2}, ["--cpu"], 2002, "QuotaExceeded"),
        ({"out_of_stock": {"T4"}}, ["--gpu", "T4"], 2003, "NoCapacity"),
    ],
)
def test_refusals(colab: FakeColab, cli: Cli, fields: dict[str, Any], options: list[str], code: int, name: str) -> None:
    """What an operation ends with is the same error as on the other plane (F38)."""
    vars(colab.account).update(fields)
    document = cli("sessions", "create", "a", *options, "--json").json
    assert (document["errorCode"], document["error"]["name"]) == (code, name), document
    assert cli("sessions", "list", "--json").json == []


def test_a_lost_answer_makes_no_second_runtime(colab: FakeColab, cli: Cli) -> None:
    """The request id is the session's key, so asking again is asking once (F17, F38)."""
    colab.fail("POST /v1beta/runtimes", lose=True)
    assert cli("sessions", "create", "a", "--cpu", "--json").json["fresh"] is True
    assert len(colab.vms) == 1


def test_without_the_api(colab: FakeColab, cli: Cli) -> None:
    """Who is not let in is told so in one sentence, and has a runtime from the other plane, listed and given back."""
    colab.switches.public_api = False
    made = cli("sessions", "create", "a", "--cpu")
    assert made.code == 0, made
    assert "the Colab API is not open to this login: " in made.err
    assert "HTTP 403" in made.err
    (listed,) = cli("sessions", "list", "--json").json
    assert listed["status"] == "active"
    assert cli("status", "--json").json["units"]["freeUnits"] is not None
    assert cli("sessions", "close", "a", "--json").json["closed"][0]["released"] == "runtime"
    assert colab.vms == {}
    cli.variables["LECODER_CGPU_COLAB_API"] = "both"
    assert cli("sessions", "create", "a", "--cpu", "--json").json["errorCode"] == 2006


def test_no_other_plane_where_the_first_may_have_begun(colab: FakeColab, cli: Cli) -> None:
    """A lost answer may have made a runtime there, which is not asked for a second time elsewhere."""
    colab.fail("POST /v1beta/runtimes", times=2, drop=True)
    assert cli("sessions", "create", "a", "--cpu", "--json").code != 0
    colab.switches.public_api = False
    refused = cli("sessions", "create", "a", "--cpu", "--json").json
    assert refused["error"]["name"] == "ServiceDisabled", refused
    assert "LECODER_CGPU_COLAB_API=tunnel" in refused["error"]["suggestion"]
    assert colab.count("POST /tun/m/assign") == 0
