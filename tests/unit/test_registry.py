"""The table of backends: which names it knows, and how others add to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.backends import registry
from lecoder_cgpu.backends.protocol import Backend, Leased, ServerRequest
from lecoder_cgpu.config import Config


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table to which nobody has added anything."""
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setattr(registry, "_entry_points", None)


@pytest.mark.parametrize("name", registry.names())
def test_every_built_in_backend_keeps_the_protocol(name: str, tmp_path: Path) -> None:
    """Each can be made, knows its own name, and derives from the protocol, so that what it leaves out has a meaning."""
    backend = registry.load(name, Config(), tmp_path)
    assert backend.name == name
    assert Backend in type(backend).__mro__
    assert backend.label
    assert isinstance(backend, Leased) == (Leased in type(backend).__mro__)


def test_the_names_in_the_table_serve_their_purpose(tmp_path: Path) -> None:
    """The usual backend leases its runtimes; one takes a folder, one the address of a server."""
    assert isinstance(registry.load(registry.DEFAULT, Config(), tmp_path), Leased)
    assert registry.load(registry.FOLDERS, Config(), tmp_path).takes_folder
    server = ServerRequest(url="http://127.0.0.1:1/", token="t")
    record = registry.load(registry.SERVERS, Config(), tmp_path).attach("lab", server)
    assert record.runtime.endpoint == "http://127.0.0.1:1/"
    with pytest.raises(errors.UsageError, match="address"):
        registry.load(registry.FOLDERS, Config(), tmp_path).attach("lab", server)


def test_a_registered_backend_is_one_like_the_others(tmp_path: Path) -> None:
    """It is listed, made by its loader with the settings, and can be chosen."""
    made = []

    def loader(config: Config, state_dir: Path) -> Backend:
        made.append((config, state_dir))
        return registry.load("local", config, state_dir)

    registry.register("fleet", loader)
    settings = Config({"backend": "fleet"})
    assert registry.names() == ("colab", "jupyter", "local", "gateway", "hub", "fleet")
    assert registry.chosen(settings).value == "fleet"
    assert registry.load("fleet", settings, tmp_path).name == "local"
    assert made == [(settings, tmp_path)]


@pytest.mark.parametrize("name", ["", "Hub", "a b", "--json", "x" * 33, "colab"])
def test_names_that_cannot_be_registered(name: str) -> None:
    """A name must be one that can be typed as an option's value, and that nobody has."""
    with pytest.raises(ValueError, match="backend"):
        registry.register(name, lambda config, state_dir: registry.load("local", config, state_dir))


def test_a_name_that_nobody_knows(tmp_path: Path) -> None:
    """The error says which names there are."""
    assert not registry.is_known("fleet")
    assert not registry.is_known(None)
    with pytest.raises(errors.UsageError) as caught:
        registry.load("fleet", Config(), tmp_path)
    assert (caught.value.name, caught.value.hint) == ("UnknownBackend", "--backend colab|jupyter|local|gateway|hub")


def test_entry_points_are_read_for_unknown_names_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution's backend is found by its name; known names cost no look at what is installed."""
    metadata = tmp_path / "hub-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: hub\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[lecoder_cgpu.backends]\nfleet = lecoder_cgpu.backends.local:Backend\nbad = lecoder_cgpu.nowhere:Backend\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert registry.is_known("local")
    assert registry._entry_points is None
    assert registry.is_known("fleet")
    assert registry.load("fleet", Config(), tmp_path).name == "local"
    with pytest.raises(errors.ConfigError, match="bad"):
        registry.load("bad", Config(), tmp_path)
