"""`install`: true statuses, what changed, whether the kernel must be restarted, and repaired runs."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.runs import installs
from tests.support.cli import Cli
from tests.support.servers import start_server

NAME = "lecoder-cgpu-probe"
MODULE = "lecoder_cgpu_probe"


def wheel(folder: Path, version: str) -> str:
    """A package of one module that knows its version."""
    info = f"{MODULE}-{version}.dist-info"
    path = folder / f"{MODULE}-{version}-py3-none-any.whl"
    files = {
        f"{MODULE}/__init__.py": f"version = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return str(path)


@pytest.fixture
def clean(lab: Cli) -> Iterator[None]:
    """The package is gone from the kernel's Python, before and after."""
    remove = f"python -m pip uninstall -q -y {NAME}"
    lab("run", remove)
    yield
    lab("run", remove)


def test_installing_and_replacing(lab: Cli, tmp_path: Path, clean: None) -> None:
    """What is new can be imported at once; what was imported and then replaced needs a restart, and is named."""
    fresh = lab("install", "--no-deps", "--installer", "pip", wheel(tmp_path, "1.0"), "--json")
    assert (fresh.code, fresh.json["status"], fresh.json["installer"]) == (0, "ok", "pip"), fresh
    assert fresh.json["changed"] == [{"name": NAME, "after": "1.0"}]
    assert fresh.json["restartNeeded"] is False
    assert lab("run", "-m", "kernel", f"import {MODULE}; print({MODULE}.version)").out == "1.0\n"
    (tmp_path / "r.txt").write_text(f"# ours\n{wheel(tmp_path, '2.0')}\n")
    replaced = lab("install", "-r", str(tmp_path / "r.txt"), "--no-deps", "--installer", "pip", "--json")
    assert "(from -r r.txt (line 2))" in replaced.json["stdout"], replaced  # and not the folder of ours
    assert (replaced.code, replaced.json["restartNeeded"]) == (0, True), replaced
    assert replaced.json["changed"] == [{"name": NAME, "before": "1.0", "after": "2.0"}]
    assert replaced.json["loadedModules"] == [MODULE]
    assert "kernel restart" in replaced.json["notice"]
    lab("kernel", "restart")
    assert lab("run", "-m", "kernel", f"import {MODULE}; print({MODULE}.version)").out == "2.0\n"


def test_failures_are_true(lab: Cli, tmp_path: Path) -> None:
    """The installer's status is ours, its output is there, and what is missing on the runtime is said to be."""
    failed = lab("install", "--installer", "pip", str(tmp_path / "no.whl"))
    assert failed.code == 1
    assert "no.whl" in failed.err
    missing = lab("install", "-e", "surely/not/there", "--json")
    assert (missing.code, missing.json["errorCode"]) == (66, 2005)
    assert "surely/not/there" in missing.json["error"]["message"]


def test_an_environment_of_its_own(lab: Cli, tmp_path: Path) -> None:
    """--venv makes one, installs there and tells its Python; the kernel's own is not touched."""
    made = lab("install", "--venv", "probe", "--no-deps", wheel(tmp_path, "3.0"), "--json")
    assert (made.code, made.json["venv"], made.json["restartNeeded"]) == (0, "probe", False), made
    again = lab("install", "--venv", "probe", "--no-deps", "-U", wheel(tmp_path, "3.0"))
    assert again.code == 0
    assert made.json["python"] in again.err
    assert lab("run", made.json["python"], "-c", f"import {MODULE}; print({MODULE}.version)").out == "3.0\n"
    assert lab("run", "--json", "python", "-c", f"import {MODULE}").json["errorCode"] == 1005


def test_a_run_is_repaired_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--auto-install installs what a run lacked and runs it again; the document says so. What cannot be installed stays
    the failure that it was."""
    wheel(tmp_path, "4.0")
    for installer in ("PIP", "UV"):
        monkeypatch.setenv(f"{installer}_FIND_LINKS", str(tmp_path))
        monkeypatch.setenv(f"{installer}_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with start_server(tmp_path / "server") as server:
        lab = Cli(tmp_path)
        added = lab("sessions", "add", "shop", "--url", server.url, "--token-stdin", stdin=server.token.encode())
        assert added.code == 0
        repair(lab)


def repair(lab: Cli) -> None:
    code = f"print('begun')\nimport {MODULE}\nprint({MODULE}.version)"
    kernel = lab("run", "-m", "kernel", "--auto-install", code, "--json")
    assert (kernel.code, kernel.json["stdout"], kernel.json.get("autoInstalled")) == (0, "begun\n4.0\n", [NAME]), kernel
    assert "run again" in kernel.json["notice"]
    lab("run", f"python -m pip uninstall -q -y {NAME}")
    process = lab("run", "--auto-install", "python", "-c", f"import {MODULE}; print({MODULE}.version)")
    assert (process.code, process.out) == (0, "4.0\n")
    lab("run", f"python -m pip uninstall -q -y {NAME}")
    project = lab.home / "project"
    project.mkdir()
    (project / "main.py").write_text(f"import {MODULE}; print({MODULE}.version)")
    sent = lab("run", "--auto-install", "--sync", str(project), "--json", "python", "main.py").json
    assert (sent["stdout"], sent["synced"]["sent"], sent["synced"]["unchanged"]) == ("4.0\n", 1, 0), sent
    attempts = [item for item in lab("logs", "-n", "20", "--json").json if item["command"] == "python main.py"]
    assert [item["status"] for item in attempts] == ["ok", "error"]  # the failed first attempt is in the record
    hopeless = lab("run", "-m", "kernel", "--auto-install", "import surely_not_there", "--json")
    assert (hopeless.code, hopeless.json["errorCode"]) == (1, 1005)
    assert "could not be installed" in hopeless.json["notice"]
    assert "autoInstalled" not in hopeless.json
    lab("run", f"python -m pip uninstall -q -y {NAME}")
    assert lab("run", "--detach", "--auto-install", "ls", "--json").json["errorCode"] == 2006


@pytest.mark.parametrize(
    "line", [[], [""], ["--bad-option"], ["--venv", "../x", "six"], ["-r", "/"], ["--installer", "conda", "six"]]
)
def test_bad_input(cli: Cli, line: list[str]) -> None:
    """What makes no sense is refused before a runtime is asked for."""
    result = cli("install", *line, "--json")
    assert (result.code, result.json["errorCode"]) == (2, 2006)
    assert result.json["error"]["suggestion"]


def test_requirement_files_bring_those_they_include(tmp_path: Path) -> None:
    """Included files come along under names that the text then uses; folders of this machine are refused."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").write_text("six\n-r sub/b.txt\n--constraint=sub/c.txt\n-r https://host/x.txt\n")
    (tmp_path / "sub" / "b.txt").write_text("-r ../a.txt\nattrs  # -r x\n")
    (tmp_path / "sub" / "c.txt").write_text("six<2\n")
    files, main = installs.read_files([str(tmp_path / "a.txt")])
    assert main == ["a.txt"]
    assert files["a.txt"] == "six\n-r b.txt\n--constraint=c.txt\n-r https://host/x.txt\n"
    assert files["b.txt"] == "-r a.txt\nattrs  # -r x\n"
    (tmp_path / "sub" / "A.txt").write_text("idna\n")
    (tmp_path / "a file").write_text("certifi\n")
    paths = [str(tmp_path / name) for name in ("a.txt", "sub/A.txt", "a file")]
    assert installs.read_files(paths)[1] == ["a.txt", "requirements-1.txt", "requirements-2.txt"]
    (tmp_path / "e.txt").write_text("-e .\n")
    with pytest.raises(errors.UsageError):
        installs.read_files([str(tmp_path / "e.txt")])
    with pytest.raises(errors.NotFoundError):
        installs.read_files([str(tmp_path / "none.txt")])


def test_passwords_in_addresses_are_not_shown() -> None:
    """The label of the run, which lists show, has none."""
    wanted = installs.Wanted(requirements=["git+https://user:secret@host/x.git", "six"], main=["r.txt"])
    assert wanted.label == "install git+https://***@host/x.git six -r r.txt"


def test_editable_projects(lab: Cli, tmp_path: Path) -> None:
    """A folder on the runtime is installed as it stands there; what is no project, or not there, gets the way to it."""
    project = tmp_path / "project"
    project.mkdir()
    lab("upload", str(project), "editable/empty", "--json")
    empty = lab("install", "-e", "editable/empty", "--json")
    assert (empty.code, empty.json["status"]) == (1, "error"), empty
    assert empty.json["error"]["suggestion"].startswith("bring it there: lecoder-cgpu sync . DIR")
    missing = lab("install", "-e", "editable/nowhere", "--json")
    assert (missing.code, missing.json["error"]["name"]) == (66, "NotFound"), missing
    assert "lecoder-cgpu ls" in missing.json["error"]["suggestion"]


@pytest.mark.skipif(shutil.which("uv") is not None, reason="uv is there")
def test_an_installer_that_is_not_there(lab: Cli) -> None:
    """It is named, with what to do about it."""
    result = lab("install", "--installer", "uv", "anything", "--json")
    assert (result.code, result.json["error"]["name"]) == (66, "NotFound"), result
    assert result.json["error"]["suggestion"].startswith("leave out --installer")
