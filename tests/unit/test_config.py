"""Settings: their sources, their order, and bad ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.backends import registry
from lecoder_cgpu.config import Config, Value, config_dir


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("LECODER_CGPU_BACKEND", "LECODER_CGPU_STORAGE_DIR", "LECODER_CGPU_JUPYTER_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LECODER_CGPU_CONFIG_DIR", str(tmp_path))
    return tmp_path


def test_the_order_is_option_environment_file_default(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each source wins over those behind it, and says which it was."""
    assert registry.chosen(Config()) == Value("colab", "default")
    (folder / "config.json").write_text('{"backend": "jupyter", "clientId": "kept"}')
    assert registry.chosen(Config()) == Value("jupyter", "config")
    monkeypatch.setenv("LECODER_CGPU_BACKEND", "local")
    assert registry.chosen(Config()) == Value("local", "environment")
    assert registry.chosen(Config({"backend": "colab"})) == Value("colab", "option")


@pytest.mark.parametrize("content", ["{", "[]", "\x80", '{"backend": 3}'])
def test_an_unusable_file_is_an_error_of_configuration(folder: Path, content: str) -> None:
    """It is never read as an empty one."""
    (folder / "config.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(errors.ConfigError, match=r"config\.json"):
        Config().get("backend")


def test_an_unknown_backend_names_those_there_are(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the environment it is bad usage, from the file bad configuration; both list the choices."""
    monkeypatch.setenv("LECODER_CGPU_BACKEND", "cloud")
    with pytest.raises(errors.UsageError) as usage:
        registry.chosen(Config())
    assert "local" in (usage.value.hint or "")
    monkeypatch.delenv("LECODER_CGPU_BACKEND")
    (folder / "config.json").write_text('{"backend": "cloud"}')
    with pytest.raises(errors.ConfigError):
        registry.chosen(Config())


def test_a_missing_file_matters_only_when_it_was_named(tmp_path: Path) -> None:
    """--config PATH must exist; the usual place may be empty."""
    assert Config().file == {}
    with pytest.raises(errors.ConfigError, match="no such file"):
        _ = Config(config_file=tmp_path / "other.json").file


def test_storage_dir_is_relative_to_its_file(folder: Path, tmp_path: Path) -> None:
    """Not to the folder that the user happens to stand in."""
    assert Config().state_dir == folder / "state"
    (folder / "config.json").write_text('{"storageDir": "elsewhere"}')
    assert Config().state_dir == folder / "elsewhere"


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, ".config/lecoder-cgpu"),
        ("linux", {"XDG_CONFIG_HOME": "/xdg"}, "/xdg/lecoder-cgpu"),
        ("darwin", {"XDG_CONFIG_HOME": "/xdg"}, "Library/Preferences/lecoder-cgpu"),
        ("win32", {"APPDATA": "/roaming"}, "/roaming/lecoder-cgpu/Config"),
    ],
)
def test_folders_are_those_of_the_reference_page(
    platform: str, variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Linux, macOS and Windows, as users of the predecessor have them."""
    monkeypatch.delenv("LECODER_CGPU_CONFIG_DIR")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", platform)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert config_dir() == tmp_path / expected
