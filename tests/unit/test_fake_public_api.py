"""The fake's public Colab API against the discovery documents that google-api-python-client ships, by that client."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from importlib import resources
from typing import Any

import jsonschema
import pytest

from lecoder_cgpu.testing.colab import FakeColab
from tests.support.google import User

T4 = {"variant": "VARIANT_GPU", "accelerator": "T4", "shape": "SHAPE_STANDARD"}


def document(version: str) -> dict[str, Any]:
    folder = resources.files("googleapiclient.discovery_cache") / "documents"
    content: dict[str, Any] = json.loads((folder / f"colaboratory.{version}.json").read_text("utf-8"))
    return content


class Api:
    """Google's own client for a version of the API, whose every answer is checked against the schema."""

    def __init__(self, colab: FakeColab, token: str, version: str) -> None:
        from google.oauth2.credentials import Credentials
        from googleapiclient.discovery import build_from_document  # type: ignore[import-untyped]

        self.document = document(version)
        self.service = build_from_document(
            self.document,
            credentials=Credentials(token),  # type: ignore[no-untyped-call]
            client_options={"api_endpoint": colab.urls["public"]},
        )
        self.schemas = _json_schema(self.document["schemas"])

    def __call__(self, request: Any) -> Any:
        answer = request.execute()
        kind = request.methodId.split(".")
        method = self.document["resources"][kind[1]]["methods"][kind[2]] if len(kind) == 3 else None
        if method is not None:
            self.check(method["response"]["$ref"], answer)
        return answer

    def check(self, name: str, answer: Any) -> None:
        jsonschema.validate(answer, {"$ref": f"#/$defs/{name}", "$defs": self.schemas})


def _json_schema(part: Any) -> Any:
    """A discovery document's schemas as JSON Schema, strict: what they do not have may not be there."""
    if isinstance(part, list):
        return [_json_schema(item) for item in part]
    if not isinstance(part, dict):
        return part
    made = {key: _json_schema(value) for key, value in part.items() if key not in ("id", "format", "description")}
    if "$ref" in made:
        return {"$ref": f"#/$defs/{made['$ref']}"}
    if made.get("type") == "any":
        del made["type"]
    if made.get("type") == "object":
        made.setdefault("additionalProperties", False)
    return made


@pytest.fixture
def apis(colab: FakeColab) -> Iterator[tuple[Api, Api]]:
    token = User(colab).token
    beta, operations = Api(colab, token, "v1beta"), Api(colab, token, "v1")
    yield beta, operations
    beta.service.close()
    operations.service.close()


def test_every_documented_method_is_served(colab: FakeColab) -> None:
    """No method of the two documents meets a path or a verb that the fake does not know."""
    user = User(colab)
    colab.start_vm("T4")
    names = {"runtimesId": colab.vm.runtime_id, "operationsId": "none"}
    for version in ("v1beta", "v1"):
        found = document(version)
        methods = [method for part in found["resources"].values() for method in part["methods"].values()]
        assert methods
        for method in sorted(methods, key=lambda method: str(method["httpMethod"] == "DELETE")):
            path = method.get("flatPath", method["path"]).format(**names)
            answer = user(method["httpMethod"], f"/{path}", "public", b"{}" if method["httpMethod"] == "POST" else None)
            expected = {"operations.list": 501, "operations.get": 404, "operations.wait": 404, "runtimes.create": 400}
            assert answer.status == expected.get(method["id"].partition(".")[2], 200), method["id"]


def test_runtimes_by_googles_client(colab: FakeColab, apis: tuple[Api, Api]) -> None:
    """Create, wait, look, list, delete; what is repeated with its request id is done once."""
    beta, operations = apis
    runtimes = beta.service.runtimes()
    specs = beta(beta.service.runtimespecs().list())["runtimeSpecs"]
    assert {"key": T4, "eligible": True} in specs
    assert any("eligible" not in spec for spec in specs)
    assert beta.service.v1beta().getSubscription(name="subscription").execute() == {
        "name": "subscription",
        "tier": "SUBSCRIPTION_TIER_FREE",
    }
    assert beta(runtimes.list()) == {}
    wanted = {"body": {"runtimeSpec": T4}, "requestId": str(uuid.uuid4()), "runtimeId": "mine"}
    operation = beta(runtimes.create(**wanted))
    assert "done" not in operation
    assert beta(runtimes.create(**wanted))["name"] == operation["name"]
    assert len(colab.vms) == 1
    waited = operations(operations.service.operations().wait(name=operation["name"], timeout="200s"))
    assert waited["done"]
    beta.check("Runtime", {key: value for key, value in waited["response"].items() if key != "@type"})
    again = beta(runtimes.create(**wanted | {"requestId": str(uuid.uuid4())}))
    assert again["error"]["code"] == 6
    first = beta(runtimes.get(name="runtimes/mine"))["connectionInfo"]
    assert first["token"] != beta(runtimes.get(name="runtimes/mine"))["connectionInfo"]["token"]
    assert first["expireTime"].endswith("Z")
    assert beta(runtimes.list())["runtimes"][0]["name"] == "runtimes/mine"
    assert beta(runtimes.delete(name="runtimes/mine")) == {}
    assert beta(runtimes.delete(name="runtimes/mine", allowMissing=True)) == {}
    assert not colab.vms


def test_refusals_by_googles_client(colab: FakeColab, apis: tuple[Api, Api]) -> None:
    """A refusal is a success whose operation failed, with a reason; only nonsense is refused at once."""
    from googleapiclient.errors import HttpError  # type: ignore[import-untyped]

    beta, operations = apis
    colab.switches.lro_polls = 0

    def reason() -> str:
        operation = beta(beta.service.runtimes().create(body={"runtimeSpec": T4}, requestId=str(uuid.uuid4())))
        assert operation["error"]["code"] == 9
        found: str = operation["error"]["details"][0]["reason"]
        return found

    colab.account.out_of_stock.add("T4")
    assert reason() == "ACCELERATOR_UNAVAILABLE"
    colab.account.outcome = 2
    assert reason() == "QUOTA_EXCEEDED_USAGE_TIME"
    colab.start_vm()
    assert reason() == "TOO_MANY_ACTIVE_RUNTIMES"
    colab.account.denylisted = True
    assert reason() == "DENYLISTED"
    with pytest.raises(HttpError) as refused:
        beta(beta.service.runtimes().create(body={"runtimeSpec": T4 | {"shape": "hm"}}))
    assert refused.value.status_code == 400
    colab.switches.public_api = False
    with pytest.raises(HttpError) as refused:
        operations(operations.service.operations().list())
    assert refused.value.error_details[0]["reason"] == "SERVICE_DISABLED"
