"""One vocabulary for what Colab's planes say: every spelling that is known, and what nobody knows yet."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lecoder_cgpu import errors
from lecoder_cgpu.backends.colab import api_plane, calls, model, records, web_plane
from lecoder_cgpu.cli import durations, runtime_options
from lecoder_cgpu.net.failures import Refusal

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("t4", "T4"),
        ("A100", "A100"),
        ("v5e-1", "V5E1"),
        ("V5E1", "V5E1"),
        ("TPU v2-8", "V28"),
        ("tpu-v6e-1", "V6E1"),
        ("NVIDIA A100", "A100"),
        ("gpu_l4", "L4"),
        ("B200", "B200"),
        ("", ""),
        ("fast", ""),
        ("T4;rm", ""),
        ("4", ""),
        ("Tesla T4", "T4"),
        ("T4 GPU", "T4"),
        ("NVIDIA L4 Tensor Core GPU", "L4"),
        ("A100 80GB", "A100"),
        ("NVIDIA A100-SXM4-40GB", "A100"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("RTX PRO 6000", "G4"),
        ("Colab GPU G4", "G4"),
        ("Colab TPU V5E1", "V5E1"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "G4"),
        ("v5e", "V5E1"),
        ("v6e", "V6E1"),
        ("v5litepod-1", "V5E1"),
        ("v5lite", "V5E1"),
        ("Trillium", "V6E1"),
        ("A10080GB", "A10080GB"),
    ],
)
def test_names_as_people_type_them(typed: str, name: str) -> None:
    """Hyphens, prefixes and case are theirs; what is no name is none."""
    assert model.typed_accelerator(typed) == name


def test_which_names_are_tpus() -> None:
    """Those of Colab's TPUs; the V100 is a GPU."""
    assert [name for name in (*model.GPUS, *model.TPUS, "V100", "P100", "V7X4") if model.is_tpu(name)] == [
        *model.TPUS,
        "V7X4",
    ]


@pytest.mark.parametrize(
    ("value", "accelerator", "variant"),
    [
        (0, "NONE", "DEFAULT"),
        (1, "T4", "GPU"),
        ("2", "V5E1", "TPU"),
        ("GPU", "T4", "GPU"),
        ("DEFAULT", "NONE", "DEFAULT"),
        ("VARIANT_GPU", "T4", "GPU"),
        ("VARIANT_UNSPECIFIED", "NONE", "DEFAULT"),
        ("VARIANT_CPU", "NONE", "DEFAULT"),
        (None, "NONE", "DEFAULT"),
        (None, "T4", "GPU"),
        (None, "V6E1", "TPU"),
        ("VARIANT_NPU", "X1", "NPU"),
        (7, "T4", "7"),
    ],
)
def test_variants(value: Any, accelerator: str, variant: str) -> None:
    """Numbers, numeric text, three sets of names; unknown ones are kept."""
    assert model.variant(value, accelerator) == variant


@pytest.mark.parametrize(
    ("value", "high"),
    [
        (0, False),
        (1, True),
        ("2", True),
        ("SHAPE_HIGH_MEM", True),
        ("SHAPE_HIGHMEM", True),
        ("hm", True),
        ("SHAPE_DEFAULT", False),
        ("SHAPE_STANDARD", False),
        (None, False),
        ("", False),
    ],
)
def test_shapes(value: Any, high: bool) -> None:
    """Every plane's spelling of the machine with much memory."""
    assert model.high_memory(value) is high


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (3600, 3600),
        ("3600", 3600),
        ("3600s", 3600),
        ("3.14s", 3.14),
        (60, 60),
        ("-1s", 3600),
        ("", 3600),
        (None, 3600),
        (0, 3600),
        ("soon", 3600),
        ({}, 3600),
        (float("nan"), 3600),
        (float("inf"), 3600),
    ],
)
def test_lifetimes(value: Any, seconds: float) -> None:
    """A duration in any form; the usual one where it is none."""
    assert model.seconds(value) == seconds


def test_a_moment_is_a_lifetime_too() -> None:
    """The public API says when a token ends, with nanoseconds."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 600)) + ".123456789Z"
    found = model.proxy({"url": "http://x/", "token": "t", "expireTime": moment})
    assert found is not None
    assert 500 < found.lifetime < 700
    assert "t" not in repr(found).replace("http", "")


@given(JSON)
def test_nothing_that_colab_sends_is_a_crash(value: Any) -> None:
    """Readers take any JSON for any field."""
    fields = dict.fromkeys(
        (
            "endpoint",
            "accelerator",
            "variant",
            "machineShape",
            "subTier",
            "runtimeProxyInfo",
            "currentBalance",
            "eligibleGpus",
            "freeCcuQuotaInfo",
            "eligibleAccelerators",
            "paidComputeUnitsBalance",
            "subscriptionTier",
        ),
        value,
    )
    web_plane._assignment(fields, listed=True)
    model.account_from_ccu(fields)
    model.account_from_user_info(fields)
    model.proxy(value)
    model.proxy({"url": value, "token": value, "tokenTtl": value, "expireTime": value})
    api_plane._runtime({"name": "runtimes/x", "runtimeSpec": value, "connectionInfo": value})


def test_units_as_text_and_thousandths() -> None:
    """64-bit numbers come as text, the free quota in thousandths."""
    found = model.account_from_ccu(
        {
            "currentBalance": "0",
            "consumptionRateHourly": 2,
            "eligibleGpus": ["t4"],
            "freeCcuQuotaInfo": {"remainingTokens": "4187", "nextRefillTimestampSec": 1790000000},
        }
    )
    assert (found.free_units, found.gpus, found.tier, found.hours_left) == (4.187, ["T4"], "free", 4.187 / 2)
    assert found.tpus is None


def test_the_notebook_hash() -> None:
    """44 characters, from the key alone."""
    assert (
        web_plane.notebook_hash("3f0c6f0e-0000-4000-8000-000000000001")
        == "3f0c6f0e_0000_4000_8000_000000000001........"
    )


def test_an_assignment_may_take_three_minutes() -> None:
    """Colab itself gives up after 180 s; who gives up earlier loses sight of a runtime that costs (F18)."""
    assert web_plane.ASSIGN_TIMEOUT >= 200


def test_the_runtimes_name_in_the_public_api() -> None:
    """An RFC 1034 label."""
    name = api_plane.runtime_id("3F0C6F0E-0000-4000-8000-000000000001")
    assert name == "lecoder-3f0c6f0e000040008000000000000001"
    assert len(name) <= 63


def test_the_audience_of_a_token() -> None:
    """Read from a JWT; an opaque token has none."""
    payload = base64.urlsafe_b64encode(json.dumps({"aud": "gpu-t4-s-1"}).encode()).rstrip(b"=").decode()
    assert api_plane._audience(f"x.{payload}.y") == "gpu-t4-s-1"
    assert [api_plane._audience(token) for token in ("opaque", "a.b.c", f"x.{payload}")] == [None, None, None]


@pytest.mark.parametrize(
    ("refusal", "kind", "name"),
    [
        (Refusal(401, "x"), errors.Unauthorized, "Unauthorized"),
        (Refusal(403, "x", '[7,"insufficient authentication scopes",[]]'), errors.ScopeMissing, "ScopeMissing"),
        (
            Refusal(403, "x", '{"error":{"status":"X","details":[{"reason":"USER_PROJECT_DENIED"}]}}'),
            errors.AuthError,
            "ProjectDenied",
        ),
        (Refusal(403, "x", "<html>"), errors.Forbidden, "Forbidden"),
        (Refusal(404, "x"), errors.NotFoundError, "NotFound"),
        (Refusal(429, "x", retry_after=3.0), errors.RateLimited, "RateLimited"),
        (Refusal(503, "x"), errors.ConnectionFailed, "Http503"),
        (Refusal(418, "x"), errors.ConnectionFailed, "Http418"),
        (Refusal(302, "x", location="https://accounts.google.com/x"), errors.Unauthorized, "Unauthorized"),
        (Refusal(302, "x", location="/o/oauth2/v2/auth?x"), errors.Unauthorized, "Unauthorized"),
        (Refusal(302, "x", location="http://hotspot/"), errors.UnexpectedAnswer, "UnexpectedAnswer"),
        (Refusal(302, "x", location="http://[::bad\x1b]5/"), errors.UnexpectedAnswer, "UnexpectedAnswer"),
        (Refusal(200, "x", "<html>", page=True), errors.UnexpectedAnswer, "UnexpectedAnswer"),
    ],
)
def test_refusals(refusal: Refusal, kind: type[errors.Error], name: str) -> None:
    """Each has its error and a hint; only 429 and 5xx are worth another try."""
    error = calls.google_error(refusal)
    assert (type(error), error.name) == (kind, name)
    assert error.hint
    assert error.retryable is (refusal.status == 429 or refusal.status >= 500)
    assert error.retry_after == refusal.retry_after


@pytest.mark.parametrize("answer", [None, [], {}, {"assignments": True}, {"assignments": {}}, "x"])
def test_a_listing_that_is_none(answer: object) -> None:
    """It says nothing, least of all that a runtime is not in it; one without rows is `{}` or has an empty list."""
    if answer == {}:
        assert calls.listed(answer, "assignments") == []
        return
    with pytest.raises(errors.UnexpectedAnswer, match="assignments"):
        calls.listed(answer, "assignments")


@pytest.mark.parametrize(
    ("text", "seconds"), [("45s", 45), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1.5h", 5400)]
)
def test_durations(text: str, seconds: float) -> None:
    """Numbers with units. Without one, nobody knows what is meant."""
    assert durations.duration(text, "--x") == seconds


@pytest.mark.parametrize(
    ("typed", "kind", "hint"),
    [
        ("TPU v5e", "GPU", "use --tpu 'TPU v5e'"),
        ("cpu", "GPU", "--cpu"),
        ("none", "TPU", "--cpu"),
        ("any", "GPU", "leave out --gpu"),
        ("L4:2", "GPU", "--gpu L4"),
        ("2 x Tesla T4", "GPU", "--gpu T4"),
        ("4090", "GPU", "lecoder-cgpu gpus"),
    ],
)
def test_what_to_type_for_what_is_no_name(typed: str, kind: str, hint: str) -> None:
    """Other tools count GPUs, and take `any` and `none`; a name with blanks is quoted."""
    with pytest.raises(errors.UsageError) as caught:
        records.names((typed,), kind)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["", "90", "soon", "2 h", "-1s", "h", "1h 30"])
def test_what_is_no_duration(text: str) -> None:
    """It is refused with an example."""
    with pytest.raises(errors.UsageError):
        durations.duration(text, "--x")


@pytest.mark.parametrize(
    ("line", "attached"),
    [
        (["--tpu"], ["--tpu=any"]),
        (["--tpu", "v5e-1", "ls"], ["--tpu=v5e-1", "ls"]),
        (["--tpu", "nvidia-smi"], ["--tpu=any", "nvidia-smi"]),
        (["--tpu", "v5litepod-1", "ls"], ["--tpu=v5litepod-1", "ls"]),
        (["--tpu", "trillium", "ls"], ["--tpu=trillium", "ls"]),
        (["--tpu", "H200", "ls"], ["--tpu=H200", "ls"]),
        (["--tpu=V6E1"], ["--tpu=V6E1"]),
        (["name", "--", "--tpu"], ["name", "--", "--tpu"]),
    ],
)
def test_the_name_of_a_tpu_is_optional(line: list[str], attached: list[str]) -> None:
    """And no other word is taken for it."""
    assert runtime_options.attach_tpu(line) == attached


@pytest.mark.parametrize("kind", [durations.TIME, durations.POSITIVE])
def test_a_bare_number_is_no_time(kind: durations.Duration) -> None:
    """Whoever means minutes must not get seconds. 0 is clear, and a number is seconds where it has always been."""
    with pytest.raises(click.BadParameter, match="5 what\\? 5m or 5s"):
        kind.convert("5", None, None)
    assert kind.convert("5s", None, None) == durations.SECONDS.convert("5", None, None) == 5
    assert durations.TIME.convert("0", None, None) == 0
    for text in ("0", "0s", "-1s", "1e9"):
        with pytest.raises(click.BadParameter):
            durations.POSITIVE.convert(text, None, None)
