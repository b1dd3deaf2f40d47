"""Profiles: which one a command acts for, where its files are, and what its saved options add to a request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu import errors, profiles
from lecoder_cgpu.backends.protocol import RuntimeRequest
from lecoder_cgpu.config import Config, child_environment, keeper_environment
from lecoder_cgpu.models.profiles import SavedRequest
from lecoder_cgpu.sessions import saved_requests
from lecoder_cgpu.sessions.manager import SessionManager
from lecoder_cgpu.store.leases import Limits

THREE: dict[str, Any] = {"work": {}, "Train": {"shares": "work", "settings": {"backend": "local"}}, "here": {}}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration folder of the test's own."""
    for name in ("LECODER_CGPU_BACKEND", "LECODER_CGPU_STORAGE_DIR", "LECODER_CGPU_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LECODER_CGPU_CONFIG_DIR", str(tmp_path))
    return tmp_path


def store(folder: Path, active: str = "default", **known: dict[str, Any]) -> None:
    (folder / "profiles.json").write_text(json.dumps({"active": active, "profiles": known or THREE}))


def test_the_option_comes_first_then_the_environment_then_what_is_stored(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each says which it was, and an invocation keeps what it began with."""
    assert Config().profile == profiles.Profile()
    store(folder, "here")
    begun = Config()
    assert (begun.profile.name, begun.profile.source) == ("here", "stored")
    monkeypatch.setenv("LECODER_CGPU_PROFILE", "work")
    assert (Config().profile.name, Config().profile.source) == ("work", "environment")
    other = Config(profile_name="train")
    assert (other.profile.name, other.profile.source, other.profile.login) == ("Train", "option", "work")
    monkeypatch.delenv("LECODER_CGPU_PROFILE")
    store(folder, "work")
    assert begun.profile.name == "here"
    assert begun.fixed().profile.name == "here"


def test_each_login_has_a_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that shares a login has that of the other; a folder for all, named by the environment, has one for each."""
    store(folder)
    assert Config().state_dir == folder / "state"
    work, train = Config(profile_name="work"), Config(profile_name="Train")
    assert work.path == train.path == folder / "profiles" / "work" / "config.json"
    assert work.state_dir == train.state_dir == folder / "profiles" / "work" / "state"
    monkeypatch.setenv("LECODER_CGPU_STORAGE_DIR", str(folder / "all"))
    assert Config().state_dir == folder / "all"
    assert Config(profile_name="Train").state_dir == folder / "all" / "profiles" / "work"


def test_settings_of_a_login_are_its_own_and_those_of_the_installation_are_shared(folder: Path) -> None:
    """The OAuth client is set up once; which backend, and whose credentials, is asked of the profile alone."""
    store(folder)
    (folder / "config.json").write_text('{"clientId": "mine", "backend": "local", "auth": "adc", "keeper": "off"}')
    work = Config(profile_name="work")
    assert (work.get("clientId").value, work.get("keeper").value) == ("mine", "off")
    assert (work.get("backend").value, work.get("auth").value) == ("colab", None)
    (folder / "profiles" / "work").mkdir(parents=True)
    (folder / "profiles" / "work" / "config.json").write_text('{"clientId": "other"}')
    assert Config(profile_name="work").get("clientId").value == "other"
    assert Config(profile_name="Train").get("backend") == ("local", "profile")
    assert Config(profile_name="Train").get("clientId").value == "other"


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"\xff",
        b"[" * 100_000,
        b"[]",
        b'{"profiles": []}',
        b'{"active": 1}',
        b'{"profiles": {"../x": {}}}',
        b'{"profiles": {"a": 1}}',
        b'{"profiles": {"a": {"shares": "b"}}}',
        b'{"profiles": {"a": {"shares": "a"}}}',
        b'{"profiles": {"a": {"shares": "b"}, "b": {"shares": "default"}}}',
        b'{"profiles": {"default": {"shares": "a"}, "a": {}}}',
        b'{"profiles": {"a": {"settings": {"backend": 1}}}}',
        b'{"profiles": {"a": {"request": []}}}',
    ],
)
def test_a_damaged_file_is_never_taken_for_none(folder: Path, content: bytes) -> None:
    """A command would act for another account."""
    (folder / "profiles.json").write_bytes(content)
    with pytest.raises(errors.ConfigError, match=r"profiles\.json") as error:
        _ = Config().state_dir
    assert "mv " in (error.value.hint or "")


def test_a_profile_that_does_not_exist_is_an_error_with_the_list(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the command line and the environment it is bad usage; where it is stored, bad configuration."""
    store(folder, "gone")
    with pytest.raises(errors.ConfigError, match=r"gone.*Train, default, here, work") as stored:
        _ = Config().profile
    assert "profile use default" in (stored.value.hint or "")
    with pytest.raises(errors.UsageError, match="nope"):
        _ = Config(profile_name="nope").profile
    with pytest.raises(errors.UsageError):
        _ = Config(profile_name="").profile
    monkeypatch.setenv("LECODER_CGPU_PROFILE", "nope")
    with pytest.raises(errors.UsageError, match="LECODER_CGPU_PROFILE") as variable:
        _ = Config().profile
    assert "profile create nope" in (variable.value.hint or "")


def test_processes_of_ours_act_for_the_same_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LECODER_CGPU_PROFILE", "here")
    assert child_environment("work")["LECODER_CGPU_PROFILE"] == "work"
    assert child_environment()["LECODER_CGPU_PROFILE"] == keeper_environment()[0]["LECODER_CGPU_PROFILE"] == "here"


# --- saved options ---

KEPT = {"gpu": ["L4", "T4"], "highRam": True, "waitForCapacity": 60.0, "maxUnits": 5.0, "idleRelease": None}


def asks(folder: Path, wants: RuntimeRequest, request: dict[str, Any], backend: str = "colab") -> RuntimeRequest:
    store(folder, train={"shares": "default", "request": request})
    told: list[str] = []
    manager = SessionManager(Config({"backend": backend}, profile_name="train"), notify=told.append)
    found = manager.completed(wants)
    assert len(told) == (backend == "local")
    return found


def test_what_a_command_says_wins_over_what_is_saved(folder: Path) -> None:
    """Each option by itself; the kinds of machine are one choice."""
    found = asks(folder, RuntimeRequest(new=True), KEPT)
    assert found == RuntimeRequest(
        gpu=("L4", "T4"), high_ram=True, patience=60.0, limits=Limits(idle=None, max_units=5.0), new=True
    )
    found = asks(folder, RuntimeRequest(tpu=(), patience=0.0, limits=Limits(max_units=None)), KEPT)
    assert (found.gpu, found.tpu, found.patience) == ((), (), 0.0)
    assert found.limits == Limits(idle=None, max_units=None)
    assert asks(folder, RuntimeRequest(cpu=True), KEPT).gpu == ()
    assert asks(folder, RuntimeRequest(gpu=("A100",)), {"tpu": []}) == RuntimeRequest(gpu=("A100",))
    assert asks(folder, RuntimeRequest(), {"cpu": True}).cpu is True


def test_what_the_backend_does_not_have_is_left_out_and_told(folder: Path) -> None:
    assert asks(folder, RuntimeRequest(), KEPT, "local") == RuntimeRequest(patience=60.0)


def test_saved_options_that_make_no_sense_are_an_error(folder: Path) -> None:
    with pytest.raises(errors.ConfigError, match="maxUnits"):
        asks(folder, RuntimeRequest(), {"maxUnits": "many"})


def test_options_are_saved_and_told_as_they_were_typed() -> None:
    """Saved twice, the later accelerator takes the place of the earlier one, and the rest stays."""
    first = saved_requests.saved(RuntimeRequest(gpu=("L4", "T4"), limits=Limits(max_units=5.0)))
    second = saved_requests.saved(RuntimeRequest(tpu=(), patience=90.0, limits=Limits(idle=None)))
    both = saved_requests.joined(first, second)
    assert both == SavedRequest(tpu=[], wait_for_capacity=90.0, idle_release=None, max_units=5.0)
    assert saved_requests.words(both) == [
        "--tpu", "--wait-for-capacity 90s", "--idle-release never", "--max-units 5",
    ]  # fmt: skip
    assert saved_requests.joined(both, SavedRequest()) == both
    options = saved_requests.saved(RuntimeRequest(server_options={"profile": "a100"}))
    assert saved_requests.words(options) == ["--server-option profile=a100"]
