"""Profiles on the command line, in the library, the keeper and the MCP server; and `config`."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client as McpClient

from lecoder_cgpu import Client, errors
from lecoder_cgpu.sessions import keeper_process
from lecoder_cgpu.testing.colab import FakeColab
from lecoder_cgpu.testing.state import SCOPES
from tests.contract.test_documents import failed, validate
from tests.support.cli import Cli
from tests.support.wait import wait_until

from .test_mcp import answer, serve


def second(cli: Cli, colab: FakeColab, name: str = "work") -> Cli:
    """The command line with a profile that is logged in as somebody else."""
    account = colab.add_account(f"boss@{name}.example", tier="PRO", balance=100.0, max_vms=5)
    account.upgrade("PRO")
    assert cli("profile", "create", name).code == 0
    session = colab.call(colab.world.session, account, SCOPES)
    imported = cli("--profile", name, "auth", "import", "-", stdin=json.dumps(session).encode())
    assert imported.code == 0, imported
    return cli


def asked(colab: FakeColab) -> list[tuple[str, str]]:
    """Whose runtimes the fake holds, and their accelerators."""
    return sorted((vm.account.email, vm.accelerator) for vm in colab.vms.values())


def test_two_accounts_are_kept_apart(hollow: FakeColab, colab_cli: Cli) -> None:
    """Sessions, history, the login and what documents say belong to the profile; nothing crosses over."""
    cli = second(colab_cli, hollow)
    ada, boss = "ada@example.com", "boss@work.example"
    made = cli("sessions", "create", "one", "--profile", "work", "--gpu", "T4", "--json")
    assert made.code == 0, made
    assert made.json["session"]["account"] == boss
    assert asked(hollow) == [(boss, "T4")]
    listed = cli("profile", "list", "--json").json
    validate(listed, "profile-list")
    assert [(item["name"], item["account"]["id"], item["sessions"]) for item in listed["profiles"]] == [
        ("default", ada, 0), ("work", boss, 1),
    ]  # fmt: skip
    here = cli("status", "--json")
    validate(here.json, "status")
    assert (here.json["profile"], here.json["account"]["id"], here.json["runtimes"]) == ("default", ada, [])
    assert here.json["heldElsewhere"] == [{"profile": "work", "sessions": ["one"]}]
    assert "profile work holds one, which may cost" in cli("status").out
    assert cli("doctor", "--json").json["account"] == ada
    for line in (["usage"], ["gpus"], ["auth", "status"]):
        assert cli(*line, "--json").json["account"]["id"] == ada
        assert cli("--profile", "work", *line, "--json").json["account"]["id"] == boss
    assert cli("sessions", "list", "--json").json == []
    closed = cli("--profile", "work", "sessions", "close", "--json").json
    assert (closed["closed"][0]["account"], hollow.vms) == (boss, {})


def test_an_account_that_nobody_has_told_is_unknown(hollow: FakeColab, colab_cli: Cli) -> None:
    """It is neither left out nor asked for."""
    login = json.loads((colab_cli.state / "session.json").read_text())
    login["account"] = {"id": "unknown", "label": "unknown"}
    (colab_cli.state / "session.json").write_text(json.dumps(login))
    colab_cli("sessions", "create", "one", "--gpu", "T4")
    hollow.requests.clear()
    found = colab_cli("status", "--json").json
    assert (found["account"]["id"], found["runtimes"][0]["account"]) == ("unknown", "unknown")
    assert "the account is not known" in colab_cli("status").out
    assert [item for item in hollow.requests if "userinfo" in item.path or "tokeninfo" in item.path] == []


def test_saved_options_count_where_nothing_else_is_said(hollow: FakeColab, colab_cli: Cli) -> None:
    """`profile set` makes a profile that shares the login: no second one is asked for."""
    cli = colab_cli
    made = cli("profile", "set", "train", "--gpu", "T4", "--max-units", "5", "--json")
    validate(made.json, "profile")
    assert (made.json["action"], made.json["profile"]["shares"]) == ("created", "default")
    validate(json.loads((cli.home / "config" / "profiles.json").read_text()), "profiles-file")
    (one,) = [cli("sessions", "create", "one", "--profile", "train", "--json").json["session"]]
    assert (one["runtime"]["accelerator"], one["lease"]["maxUnits"]) == ("T4", 5)
    assert cli("sessions", "list", "--json").json[0]["name"] == "one"
    assert cli("--profile", "train", "profile", "set", "train", "--unset", "max-units", "--gpu", "L4").code == 0
    assert cli("sessions", "ensure", "one", "--profile", "train").code == 0  # named and there: nothing is added
    cli("sessions", "close", "--all")
    shut = cli("sessions", "create", "two", "--profile", "train", "--cpu", "--json").json["session"]
    assert (shut["runtime"]["accelerator"], shut["lease"].get("maxUnits")) == ("none", None)
    deleted = cli("profile", "delete", "train", "--json")
    assert (deleted.code, deleted.json["action"]) == (0, "deleted")
    assert [item["name"] for item in cli("sessions", "list", "--json").json] == ["two"]


def test_saved_options_on_a_backend_without_them_are_told(cli: Cli) -> None:
    cli("profile", "set", "train", "--gpu", "T4", "--max-units", "5")
    run = cli("--backend", "local", "run", "--profile", "train", "-m", "kernel", "1+1", "--json")
    assert run.code == 0, run
    assert run.json["notice"].count("profile 'train' asks for: --gpu T4, the limits") == 1
    assert "account" not in run.json["session"]
    job = cli("--backend", "local", "run", "--profile", "train", "--detach", "true", "--json")
    assert job.json["next"].startswith("lecoder-cgpu --profile train job wait")
    cli("sessions", "close", "--all")


def test_using_a_profile_lasts_until_another_is_used(cli: Cli) -> None:
    """It is said, and shown by `status` and `doctor`; the environment comes before it, which is told."""
    cli("profile", "create", "work")
    used = cli("profile", "use", "WORK", "--json")
    assert (used.json["action"], used.json["profile"]["name"]) == ("used", "work")
    assert cli("status", "--json").json["profile"] == "work"
    assert cli("doctor", "--json").json["profile"] == "work"
    assert cli("--json").json["profile"] == "work"
    assert "profile      work" in cli("status").out
    other = cli("profile", "use", "work", env={"LECODER_CGPU_PROFILE": "default"})
    assert "comes first" in other.err
    assert cli("status", "--json", env={"LECODER_CGPU_PROFILE": "default"}).json["profile"] == "default"
    stored = json.loads((cli.home / "config" / "profiles.json").read_text())
    (cli.home / "config" / "profiles.json").write_text(json.dumps(stored | {"active": "gone"}))
    for line in (["status"], ["run", "true"], ["--profile", "nope", "status"]):
        lost = failed(cli(*line, "--json"))
        assert (lost["error"]["name"], lost["exitCode"]) == ("ProfileNotFound", 2 if "nope" in line else 78)
    assert "gone" in cli("profile", "list").err
    assert cli("profile", "use", "default").code == 0
    assert cli("status").code == 0


SENSELESS = (
    (["create", "../evil"], "cannot be a profile's name"),
    (["create", ""], "cannot be a profile's name"),
    (["create", "Default"], "capital letters"),
    (["create", "WORK"], "capital letters"),
    (["create", "work"], "already"),
    (["rename", "default", "x"], "keeps its name"),
    (["rename", "work", "a/b"], "cannot be a profile's name"),
    (["rename", "work", "train"], "already"),
    (["delete", "default"], "cannot be deleted"),
    (["delete", "work"], "train would lose the login"),
    (["delete", "nope"], "there are: default, train, work"),
    (["use", "nope"], "there is no profile"),
    (["set", "train"], "nothing to save"),
    (["set", "train", "--gpu", "T44x!"], "is no accelerator's name"),
    (["set", "train", "--gpu", "v5e-1"], "is not a GPU"),
    (["set", "train", "--gpu", "T4", "--cpu"], "only one of"),
    (["set", "train", "--max-units", "-1"], "is not a limit"),
    (["set", "train", "--idle-release", "30"], "30 what?"),
    (["set", "train", "--unset", "colour"], "is no saved option"),
    (["set", "here", "--backend", "local", "--gpu", "T4"], "lends its machine as it is"),
)


def test_what_makes_no_sense_changes_nothing(cli: Cli) -> None:
    """The message says what is wrong, and the file stays as it was."""
    cli("profile", "create", "work")
    cli("--profile", "work", "profile", "create", "train", "--share-login")
    before = (cli.home / "config" / "profiles.json").read_bytes()
    for line, said in SENSELESS:
        document = failed(cli("profile", *line, "--json"))
        assert document["exitCode"] == 2, line
        assert said in document["error"]["message"], line
    assert (cli.home / "config" / "profiles.json").read_bytes() == before


def test_nothing_held_and_no_login_is_lost_with_a_profile(hollow: FakeColab, colab_cli: Cli) -> None:
    """Renaming and deleting are refused with the command that comes before; then nothing of it is left."""
    cli = second(colab_cli, hollow)
    folder = cli.home / "config" / "profiles"
    cli("--profile", "work", "sessions", "create", "one", "--gpu", "T4")
    for line in (["rename", "work", "office"], ["delete", "work", "--yes"]):
        document = failed(cli("profile", *line, "--json"))
        assert "one may cost" in document["error"]["message"]
        assert document["error"]["suggestion"] == "lecoder-cgpu --profile work sessions close --all"
    cli("--profile", "work", "sessions", "close", "--all")
    assert cli("profile", "rename", "work", "office").code == 0
    assert [path.name for path in folder.iterdir()] == ["office"]
    assert cli("--profile", "office", "auth", "status", "--json").json["account"]["id"] == "boss@work.example"
    assert "--profile office logout" in failed(cli("profile", "delete", "office", "--json"))["error"]["suggestion"]
    left = cli("--profile", "office", "logout", "--json")
    assert (left.json["profile"], left.json["account"]["id"]) == ("office", "boss@work.example")
    cli("profile", "use", "office")
    assert "profile use default" in cli("profile", "delete", "office").err
    cli("profile", "use", "default")
    assert cli("profile", "delete", "office").code == 0
    assert list(folder.iterdir()) == []
    assert cli("auth", "status", "--json").json["account"]["id"] == "ada@example.com"


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_files_of_profiles_are_private(hollow: FakeColab, colab_cli: Cli) -> None:
    cli = second(colab_cli, hollow)
    cli("--profile", "work", "config", "set", "jupyterToken", "-", stdin=b"secret-of-work")
    top = cli.home / "config" / "profiles.json"
    for path in [top, top.parent / "profiles", *(top.parent / "profiles").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_the_keeper_acts_for_the_profile_that_started_it(colab: FakeColab, colab_cli: Cli) -> None:
    """Also when another one is used by then."""
    cli = second(colab_cli, colab)
    cli.variables["LECODER_CGPU_KEEPER"] = "on"
    cli.variables["LECODER_CGPU_KEEPER_INTERVAL"] = "0.2"
    cli("profile", "use", "work")
    run = cli("run", "--gpu", "T4", "--json", "true")
    assert (run.code, run.json["session"]["account"]) == (0, "boss@work.example"), run
    assert [item["account"] for item in cli("logs", "--json").json] == ["boss@work.example"]
    cli("profile", "use", "default")
    state = cli.home / "config" / "profiles" / "work" / "state"

    def pings() -> list[tuple[str, str]]:
        found = keeper_process.read(state)
        return [] if found is None else [(item.session, item.ping) for item in found.sessions]

    try:
        wait_until(lambda: pings() == [("colab", "ok")])
        kept = cli("--profile", "work", "keeper", "status", "--json").json
        assert (kept["running"], kept["profile"]) == (True, "work")
        assert kept["sessions"][0]["account"] == "boss@work.example"
        assert cli("keeper", "status", "--json").json["running"] is False
    finally:
        cli("--profile", "work", "sessions", "close", "--all")
        cli("--profile", "work", "keeper", "stop")


def test_commands_of_hooks_and_of_ssh_act_for_the_same_profile(cli: Cli) -> None:
    cli("profile", "create", "work")
    hook = f"{sys.executable} -c \"import os; print(os.environ['LECODER_CGPU_PROFILE'])\""
    run = cli("--backend", "local", "run", "--profile", "work", "--on-finish", hook, "true")
    assert "work" in run.err.split(), run
    block = cli("--profile", "work", "ssh-config")
    assert "--profile work ssh --proxy" in block.out, block
    cli("--profile", "work", "sessions", "close", "--all")


def test_the_library_and_the_server_for_agents_act_for_it(
    hollow: FakeColab, colab_cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server goes on for the profile that it began with."""
    cli = second(colab_cli, hollow)
    cli("--profile", "work", "sessions", "create", "one", "--gpu", "T4")
    for name, value in cli.environment().items():
        monkeypatch.setenv(name, value)
    assert [item.name for item in Client(profile="work").sessions()] == ["one"]
    assert (Client(profile="WORK").profile, Client().profile, Client().sessions()) == ("work", "default", [])
    with pytest.raises(errors.UsageError, match="nope"):
        Client(profile="nope")

    async def talk(client: McpClient) -> None:
        found = await answer(client, "status")
        assert (found["profile"], found["account"]["id"]) == ("work", "boss@work.example")
        assert cli("profile", "use", "default").code == 0
        found = await answer(client, "status")
        assert found["profile"] == "work"

    cli("profile", "use", "work")
    serve(cli, talk)


def test_a_shell_completes_the_names(cli: Cli) -> None:
    cli("profile", "create", "work")
    for words in ("lecoder-cgpu profile use w", "lecoder-cgpu run --profile w"):
        done = subprocess.run(
            [sys.executable, "-m", "lecoder_cgpu"],
            env=cli.environment(
                {
                    "_LECODER_CGPU_COMPLETE": "bash_complete",
                    "COMP_WORDS": words,
                    "COMP_CWORD": str(len(words.split()) - 1),
                }
            ),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.split() == ["plain,work"], done


# --- config ---


def settings(cli: Cli, *words: str) -> dict[str, Any]:
    document = cli(*words, "config", "show", "--json").json
    validate(document, "config-show")
    return {item["key"]: (item.get("value"), item["source"]) for item in document["settings"]}


def test_settings_are_shown_set_and_taken_away(cli: Cli) -> None:
    """By any spelling of the name; a secret comes from stdin and is never shown, nor written into a log."""
    assert settings(cli)["backend"] == ("colab", "default")
    found = cli("config", "set", "LECODER_CGPU_BACKEND", "local", "--json")
    validate(found.json, "config")
    assert (found.json["setting"]["value"], cli("config", "get", "back-end").out) == ("local", "local\n")
    assert cli("config", "set", "jupyter-token", "-", stdin=b"s3cret\n").code == 0
    assert json.loads((cli.home / "config" / "config.json").read_text())["jupyterToken"] == "s3cret"
    assert cli("config", "get", "jupyterToken").out == "***\n"
    assert failed(cli("config", "set", "jupyterToken", "s3cret", "--json"))["exitCode"] == 2
    logged = "".join(path.read_text() for path in (cli.state / "logs").iterdir())
    assert "s3cret" not in cli("config", "show", "--json").out + cli("config", "show").out + logged
    told = cli("config", "set", "backend", "colab", env={"LECODER_CGPU_BACKEND": "local"})
    assert "LECODER_CGPU_BACKEND is set here, and comes first" in told.err
    assert cli("config", "unset", "backend").code == 0
    assert settings(cli)["backend"] == ("colab", "default")


def test_settings_belong_to_the_profile(cli: Cli) -> None:
    """One that shares a login has its own beside that, but for what goes with the login."""
    cli("profile", "create", "work")
    cli("profile", "set", "here", "--backend", "local")
    cli("--profile", "work", "config", "set", "colabApi", "public")
    assert settings(cli, "--profile", "work")["colabApi"] == ("public", "config")
    assert settings(cli, "--profile", "here")["backend"] == ("local", "profile")
    assert (settings(cli)["colabApi"][1], settings(cli)["backend"][1]) == ("default", "default")
    cli("profile", "set", "work", "--backend", "hub")
    assert settings(cli, "--profile", "work")["backend"] == ("hub", "profile")
    cli("--profile", "work", "config", "set", "backend", "jupyter")
    assert settings(cli, "--profile", "work")["backend"] == ("jupyter", "config")
    cli("--profile", "work", "config", "unset", "backend")
    assert settings(cli, "--profile", "work")["backend"] == ("colab", "default")
    assert cli("config", "unset", "backend").code == 0
    assert not (cli.home / "config" / "config.json").exists()
    assert cli("--profile", "here", "config", "unset", "backend").code == 0
    assert settings(cli, "--profile", "here")["backend"] == ("colab", "default")
    refused = failed(cli("--profile", "here", "config", "set", "storageDir", "x", "--json"))
    assert "--profile default config set storageDir" in refused["error"]["suggestion"]


def test_settings_that_make_no_sense_are_refused(cli: Cli) -> None:
    for key, value, said in (
        ("backnd", "local", "did you mean 'backend'?"),
        ("backend", "cloud", "unknown backend"),
        ("backend", " ", "says nothing"),
        ("keeper", "maybe", "on or off"),
        ("keeperInterval", "soon", "number of seconds"),
        ("jupyterUrl", "example.org", "is an address"),
        ("colabApiDomain", "http://[", "is an address"),
        ("auth", "me", "is adc"),
    ):
        document = failed(cli("config", "set", key, value, "--json"))
        assert (document["exitCode"], said in document["error"]["message"]) == (2, True), document
    assert not (cli.home / "config" / "config.json").exists()


def test_a_config_file_that_is_named_is_the_one_that_changes(cli: Cli, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text('{"kept": 1}')
    cli("profile", "create", "work")
    cli("--profile", "work", "--config", str(other), "config", "set", "backend", "local")
    written = json.loads(other.read_text())
    assert (written["kept"], written["backend"]) == (1, "local")
    assert settings(cli, "--profile", "work")["backend"] == ("colab", "default")
