"""Logging in to Google: the real command line against a fake Google."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from keyrings.alt.file import PlaintextKeyring  # type: ignore[import-untyped]

from lecoder_cgpu import errors
from lecoder_cgpu.auth.tokens import Login
from lecoder_cgpu.config import Config
from lecoder_cgpu.testing.colab import CLIENT, FakeColab
from lecoder_cgpu.testing.state import COLAB, DRIVE_FILE, EMAIL, SCOPES
from tests.contract.test_documents import failed, validate
from tests.support.cli import Cli, Result
from tests.support.colab import logged_in, points_at
from tests.support.pty import Pty

BROWSER = """
import sys, urllib.request
urllib.request.urlopen(sys.argv[1], timeout=30).read()
"""


@pytest.fixture
def new_cli(colab: FakeColab, tmp_path: Path) -> Cli:
    """A command line that knows the fake, with nobody logged in, and with a browser that agrees to everything."""
    script = tmp_path / "browser.py"
    script.write_text(BROWSER)
    cli = points_at(Cli(tmp_path / "home"), colab)
    cli.variables["BROWSER"] = f"{sys.executable} {script} %s"
    return cli


def session(cli: Cli) -> Any:
    return json.loads((cli.state / "session.json").read_text())


def token(cli: Cli) -> Any:
    return json.loads((cli.state / "token.json").read_text())


def visit(url: str) -> str:
    """Open the consent page and return the address that the browser is sent to, where nothing listens."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *arguments: Any) -> None:
            return None

    try:
        urllib.request.build_opener(Stay).open(url, timeout=30)
    except urllib.error.HTTPError as answer:
        return answer.headers["Location"]
    raise AssertionError("the consent page did not decide")


def two_steps(cli: Cli, answer: Callable[[str], str] = lambda address: address) -> Result:
    started = cli("auth", "login", "--start", "--json")
    validate(started.json, "auth-start")
    pasted = answer(visit(started.json["url"]))
    return cli("auth", "login", "--finish", started.json["flowId"], "--code-stdin", "--json", stdin=pasted.encode())


def library(cli: Cli) -> Login:
    """The login as the library has it, in this process."""
    return Login(Config(config_file=cli.home / "config" / "config.json"), cli.state)


# --- logging in ---


def test_a_login_from_setup_to_logout(colab: FakeColab, tmp_path: Path) -> None:
    """The client file is taken, the browser opened, the login used, shown, exported and revoked; no secret shows."""
    script = tmp_path / "browser.py"
    script.write_text(BROWSER)
    cli = Cli(tmp_path / "home", {**colab.environment, "BROWSER": f"{sys.executable} {script} %s"})
    file = tmp_path / "client_secret.json"
    file.write_text(json.dumps({"installed": {"client_id": CLIENT[0], "client_secret": CLIENT[1]}}))

    steps = cli("auth", "setup")
    assert len(steps.out.splitlines()) == 5
    assert failed(cli("auth", "login", "--json"))["error"]["name"] == "NoClient"
    setup = cli("auth", "setup", str(file), "--json")
    validate(setup.json, "auth-setup")
    written = json.loads((cli.home / "config" / "config.json").read_text())
    assert written["clientId"] == CLIENT[0]
    assert all(written[key].startswith("https://") for key in ("colabApiDomain", "colabGapiDomain"))

    login = cli("auth", "login", "--browser")
    assert login.code == 0, login
    assert "ada@example.com" in login.out
    assert "lecoder-cgpu policy" in login.err
    assert colab.count("GET /o/oauth2/v2/auth") == 1
    validate(session(cli), "session-file")
    status = cli("auth", "status", "--json")
    validate(status.json, "auth-status")
    assert status.json["account"] == {"id": "ada@example.com", "label": "Ada Example"}
    assert status.json["missingScopes"] == []
    assert cli("status", "--json").json["authenticated"] is True
    check = cli("auth", "check", "--json")
    assert (check.code, check.json["checked"]) == (0, True)
    assert colab.count("POST /token") == 1  # the token of the login is used, none was minted

    again = cli("auth", "login", "--json")
    assert "already" in again.json["message"]
    exported = cli("auth-export", "--json")
    validate(exported.json, "auth-export")
    refresh_token = exported.json["session"]["refreshToken"]
    assert refresh_token == session(cli)["refreshToken"]
    shown = [steps, setup, login, status, check, again, cli("debug", "show", "--json", "-n", "1000")]
    for secret in (refresh_token, token(cli)["accessToken"], CLIENT[1]):
        assert all(secret not in result.out + result.err for result in shown)

    out = cli("logout", "--json")
    validate(out.json, "auth-logout")
    assert (out.json["loggedOut"], out.json["revoked"]) == (True, True)
    assert not (cli.state / "session.json").exists()
    assert not (cli.state / "token.json").exists()
    assert colab.world.tokens.refresh == {}
    assert cli("status", "--json").json["authenticated"] is False


@pytest.mark.parametrize("whole", [True, False])
def test_a_login_by_pasting(colab: FakeColab, new_cli: Cli, whole: bool) -> None:
    """--no-browser shows the address and takes the whole address or the code alone from stdin."""
    process = new_cli.start("auth", "login", "--no-browser", stdin=subprocess.PIPE)
    assert process.stderr is not None
    url = next(line for line in iter(process.stderr.readline, b"") if line.startswith(b"http")).decode().strip()
    pasted = visit(url)
    if not whole:
        pasted = pasted.partition("code=")[2].partition("&")[0]
    out, err = process.communicate((pasted + "\n").encode(), timeout=60)
    assert process.returncode == 0, err
    assert b"ada@example.com" in out
    assert session(new_cli)["account"]["id"] == "ada@example.com"


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are POSIX's")
def test_the_second_step_at_a_terminal(new_cli: Cli, pty_of: Callable[..., Pty]) -> None:
    """It says what it waits for."""
    started = new_cli("auth", "login", "--start", "--json").json
    run = pty_of(new_cli, "auth", "login", "--finish", started["flowId"], "--code-stdin")
    run.wait(lambda: b"paste the address" in run.seen)
    run.type(visit(started["url"]).encode() + b"\n\x04")
    assert run.end() == 0, run.seen


def test_a_login_in_two_steps(colab: FakeColab, new_cli: Cli) -> None:
    """Two commands that wait for nobody; what the first left is used once."""
    finished = two_steps(new_cli)
    assert finished.code == 0, finished
    validate(finished.json, "auth-status")
    assert finished.json["authenticated"] is True
    assert list((new_cli.state / "logins").iterdir()) == []
    late = new_cli("auth", "login", "--finish", "0123456789ab", "--code-stdin", "--json", stdin=b"4/x")
    assert failed(late)["errorCode"] == 2005


def test_files_are_private(colab: FakeColab, new_cli: Cli) -> None:
    """Everything that holds a secret is 0600 in folders that are 0700."""
    two_steps(new_cli)
    new_cli("auth", "login", "--start", "--json")
    for path in new_cli.state.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_login_in_the_keyring(colab: FakeColab, new_cli: Cli, tmp_path: Path) -> None:
    """The token is in the keyring and in no file, through renewal, rotation, export, moving back and logging out."""
    kept = tmp_path / "keyring.cfg"
    keyring = PlaintextKeyring()
    keyring.file_path = str(kept)
    new_cli.variables |= {
        "PYTHON_KEYRING_BACKEND": "keyrings.alt.file.PlaintextKeyring",
        "KEYRING_PROPERTY_FILE_PATH": str(kept),
    }
    login = new_cli("auth", "login", "--browser", "--keyring")
    assert login.code == 0, login
    written = session(new_cli)
    validate(written, "session-file")
    assert (written["refreshToken"], written["refreshTokenIn"]) == ("", "keyring")
    exported = new_cli("auth", "export", "--json").json["session"]
    secret = exported["refreshToken"]
    assert secret
    assert "refreshTokenIn" not in exported
    assert all(secret not in path.read_text() for path in new_cli.home.rglob("*") if path.is_file())
    (new_cli.state / "token.json").unlink()
    assert new_cli("auth", "check", "--json").json["checked"] is True  # a token was made from what the keyring has

    again = new_cli("auth", "login", "--force", "--browser")  # the choice stays
    assert again.code == 0, again
    second = session(new_cli)
    assert (second["refreshToken"], second["refreshTokenIn"]) == ("", "keyring")
    assert keyring.get_password("lecoder-cgpu", written["id"]) is None  # of the login before, nothing is left
    assert keyring.get_password("lecoder-cgpu", second["id"])
    moved = new_cli("auth", "login", "--no-keyring", "--json")
    assert "already" in moved.json["message"]
    assert session(new_cli)["refreshToken"]
    assert "refreshTokenIn" not in session(new_cli)
    assert keyring.get_password("lecoder-cgpu", second["id"]) is None
    assert new_cli("auth", "login", "--keyring", "--json").code == 0
    assert new_cli("auth", "logout", "--json").json["revoked"] is True
    assert keyring.get_password("lecoder-cgpu", second["id"]) is None


def test_no_keyring(colab: FakeColab, new_cli: Cli) -> None:
    """A keyring that cannot be used is told before anything is asked for, and nothing has changed."""
    new_cli.variables["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"
    before = json.loads((new_cli.home / "config" / "config.json").read_text())
    refused = failed(new_cli("auth", "login", "--browser", "--keyring", "--json"))["error"]
    assert (refused["name"], colab.count("GET /o/oauth2/v2/auth")) == ("KeyringFailed", 0)
    assert "--no-keyring" in refused["suggestion"]
    assert json.loads((new_cli.home / "config" / "config.json").read_text()) == before


@pytest.mark.parametrize(("consent", "name"), [("deny", "ConsentDenied"), ("wrong_state", "WrongState")])
def test_refused_consent(colab: FakeColab, new_cli: Cli, consent: Any, name: str) -> None:
    """Denied consent ends a login at once, an answer to somebody else is passed over by the one that listens. In two
    steps both are told. Nothing changes."""
    two_steps(new_cli)
    before = session(new_cli)
    colab.switches.consent = consent
    by_browser = new_cli("auth", "login", "--browser", "--force", "--wait", "60" if consent == "deny" else "2")
    assert by_browser.code == 77, by_browser
    assert ("to another login came" in by_browser.err) == (consent == "wrong_state")
    assert failed(two_steps(new_cli))["error"]["name"] == name
    assert session(new_cli) == before


def test_no_answer(colab: FakeColab, new_cli: Cli) -> None:
    """A browser that never comes back, and a login that was begun too long ago."""
    waited = new_cli("auth", "login", "--browser", "--wait", "0.1", env={"BROWSER": "true %s"})
    assert (waited.code, "no answer came" in waited.err) == (77, True)
    flow = new_cli("auth", "login", "--start", "--json").json["flowId"]
    path = new_cli.state / "logins" / f"{flow}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"expires_at": time.time() - 1}))
    late = new_cli("auth", "login", "--finish", flow, "--code-stdin", "--json", stdin=b"4/x")
    assert failed(late)["error"]["name"] == "LoginNotFound"
    assert "time is over" in late.json["error"]["message"]


def test_bad_answers(colab: FakeColab, new_cli: Cli) -> None:
    """A code that Google does not know, no code, nothing at all: each has its error, and the flow may go on."""
    started = new_cli("auth", "login", "--start", "--json").json
    finish = ("auth", "login", "--finish", started["flowId"], "--code-stdin", "--json")
    assert failed(new_cli(*finish, stdin=b"4/wrong"))["error"]["name"] == "CodeRefused"
    for pasted in (
        b"",
        b"what is this",
        started["redirectless"].encode() if "redirectless" in started else b"http://x/",
    ):
        document = failed(new_cli(*finish, stdin=pasted))
        assert document["error"]["name"] in ("NoCode", "WrongState")
    colab.fail("oauth:POST /token", status=503, body=b"<html>busy</html>")
    address = visit(started["url"])
    assert failed(new_cli(*finish, stdin=address.encode()))["errorCode"] == 1006
    assert new_cli(*finish, stdin=address.encode()).code == 0  # the code was not used up by that


def test_unticked_scopes(colab: FakeColab, new_cli: Cli) -> None:
    """What was not granted is recorded; only what needs it fails, naming it."""
    colab.switches.untick = (DRIVE_FILE,)
    assert two_steps(new_cli).json["missingScopes"] == [DRIVE_FILE]
    assert new_cli("auth", "check", "--json").code == 0
    login = library(new_cli)
    login.require(COLAB, "a runtime")
    with pytest.raises(errors.AuthError, match=r"notebook create needs the permission .*drive\.file") as caught:
        login.require(DRIVE_FILE, "notebook create")
    assert "auth login --force" in (caught.value.hint or "")
    colab.switches.untick = (COLAB, DRIVE_FILE)
    assert two_steps(new_cli).code == 0
    assert COLAB in failed(new_cli("auth", "check", "--json"))["error"]["message"]
    colab.switches.untick = ("email", "profile")
    assert two_steps(new_cli).code == 0
    assert EMAIL not in session(new_cli)["grantedScopes"]


def test_nobody_is_asked(colab: FakeColab, new_cli: Cli) -> None:
    """Without a person or with --json no browser opens and nothing waits; the error names the command to type."""
    for line in (["auth", "login"], ["auth"], ["auth", "login", "--json"], ["auth", "login", "--browser", "--json"]):
        result = new_cli(*line)
        assert result.code == 77
        assert "--start --json" in result.out + result.err
    assert failed(new_cli("auth", "check", "--json"))["error"]["name"] == "NotLoggedIn"
    assert "--backend local" in new_cli("auth", "check").err
    assert colab.requests == []


# --- the predecessor's files ---


def test_files_go_both_ways(colab: FakeColab, new_cli: Cli, tmp_path: Path) -> None:
    """What the predecessor wrote works, keys that we do not know stay, and what we write passes its own checks."""
    two_steps(new_cli)
    ours = session(new_cli)
    assert {"profile", "email", COLAB, DRIVE_FILE} <= set(ours["scopes"])
    assert all(isinstance(ours[key], str) and ours[key] for key in ("id", "refreshToken"))
    old = logged_in(Cli(tmp_path / "old"), colab)
    theirs = session(old) | {"later": {"kept": 1}}
    (old.state / "session.json").write_text(json.dumps(theirs, indent=2))
    assert library(old).scopes() is None  # they say what was asked for, not what was granted
    colab.switches.rotate_refresh_tokens = True
    assert old("auth", "check", "--json").code == 0
    after = session(old)
    assert after["refreshToken"] != theirs["refreshToken"]  # Google replaced it
    assert after == theirs | {"refreshToken": after["refreshToken"]}
    assert library(old).scopes() == frozenset({"openid", "email", "profile", COLAB, DRIVE_FILE})


def test_the_old_private_host_means_the_real_one(tmp_path: Path) -> None:
    """The predecessor writes a host into config.json that never answers."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"colabGapiDomain": "https://colab.googleapis.com"}))
    assert Config(config_file=path).get("colabGapiDomain").value == "https://colab.pa.googleapis.com"


def test_setup_keeps_what_it_does_not_know(tmp_path: Path) -> None:
    """Another client is not overwritten without --force, and other keys of config.json stay."""
    cli = Cli(tmp_path)
    path = cli.home / "config" / "config.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"clientId": "one", "clientSecret": "secret-one", "theirs": [1], "backend": "local"}))
    other = json.dumps({"installed": {"client_id": "two", "client_secret": "secret-two"}}).encode()
    assert failed(cli("auth", "setup", "-", "--json", stdin=other))["error"]["name"] == "ClientExists"
    assert cli("auth", "setup", "-", "--force", "--json", stdin=other).json["clientId"] == "two"
    assert json.loads(path.read_text())["theirs"] == [1]
    for bad in (b"nonsense", b"[]", b'{"web": {}}', b'{"installed": {"client_id": 1}}'):
        assert failed(cli("auth", "setup", "-", "--json", stdin=bad))["error"]["name"] == "BadClientFile"
    assert failed(cli("auth", "setup", "/surely/not/there", "--json"))["errorCode"] == 2005


def test_a_container(colab: FakeColab, colab_cli: Cli, tmp_path: Path) -> None:
    """Two files copied into an empty home, as the reference page has it, are a login."""
    home = tmp_path / "container"
    folder = home / ".config" / "lecoder-cgpu"
    (folder / "state").mkdir(parents=True)
    shutil.copy(colab_cli.home / "config" / "config.json", folder / "config.json")
    shutil.copy(colab_cli.state / "session.json", folder / "state" / "session.json")
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
    line = [sys.executable, "-m", "lecoder_cgpu", "status", "--json"]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60, check=True)
    document = json.loads(done.stdout)
    assert document["authenticated"] is True
    assert document["account"]["id"] == "ada@example.com"


def test_a_damaged_login(colab: FakeColab, colab_cli: Cli) -> None:
    """It is set aside and reported, status still answers, and a new login works."""
    (colab_cli.state / "session.json").write_text('{"id": "x", "scopes": "x"}')
    assert failed(colab_cli("auth", "check", "--json"))["errorCode"] == 2009
    assert len(list(colab_cli.state.glob("session.json.damaged-*"))) == 1
    assert colab_cli("status", "--json").json["authenticated"] is False
    (colab_cli.state / "session.json").write_text("{")
    assert "damaged" in colab_cli("status").err
    assert two_steps(colab_cli).code == 0


# --- export and import ---


def test_export_and_import(colab: FakeColab, colab_cli: Cli, tmp_path: Path) -> None:
    """The bare session and the whole document, as an argument, by `-` and on stdin; the login is proved first."""
    document = colab_cli("auth-export", "--json").out
    bare = colab_cli("auth", "export").out
    for number, (line, stdin) in enumerate(
        [
            (["auth-import", document], None),
            (["auth-import", bare, "--force"], None),
            (["auth", "import", "-"], document.encode()),
            (["auth-import"], bare.encode()),
        ]
    ):
        other = points_at(Cli(tmp_path / f"other{number}"), colab)
        result = other(*line, "--json", stdin=stdin)
        assert result.code == 0, result
        validate(result.json, "auth-status")
        assert result.json["account"]["id"] == "ada@example.com"
        assert session(other)["refreshToken"] == session(colab_cli)["refreshToken"]
        assert session(colab_cli)["refreshToken"] not in other("debug", "show", "--json").out
    assert colab.count("POST /token") == 4


def test_an_import_breaks_nothing(colab: FakeColab, colab_cli: Cli) -> None:
    """A login that is there is replaced only with --force, and only by one that works."""
    before = session(colab_cli)
    other = {**before, "refreshToken": colab.login()}
    assert failed(colab_cli("auth-import", json.dumps(other), "--json"))["error"]["name"] == "LoginExists"
    dead = json.dumps({**before, "refreshToken": "1//dead"})
    assert failed(colab_cli("auth-import", dead, "--force", "--json"))["errorCode"] == 2001
    colab.fail("oauth:POST /token", times=None, drop=True)
    assert failed(colab_cli("auth-import", json.dumps(other), "--force", "--json"))["errorCode"] == 1006
    colab.mend()
    for bad in ("", "nonsense", "[]", "{}", '{"refreshToken": 3}', '{"refreshToken": "x", "scopes": "x"}'):
        assert failed(colab_cli("auth-import", "--force", "--json", stdin=bad.encode()))["error"]["name"] == "BadExport"
    assert session(colab_cli) == before
    assert colab_cli("auth-import", json.dumps(other), "--force", "--json").code == 0
    assert session(colab_cli)["refreshToken"] == other["refreshToken"]


# --- other sources ---


@pytest.mark.parametrize("form", ["json", "path"])
def test_credentials_in_the_environment(colab: FakeColab, colab_cli: Cli, tmp_path: Path, form: str) -> None:
    """One variable, with what `auth export --ci` printed, is a login, and nothing of it reaches the disk."""
    exported = colab_cli("auth", "export", "--ci", "--json").out
    file = tmp_path / "credentials.json"
    file.write_text(exported)
    ci = Cli(tmp_path / "ci", {**colab.environment})
    ci.variables["LECODER_CGPU_CREDENTIALS"] = exported if form == "json" else str(file)
    checked = ci("auth", "check", "--json")
    assert checked.code == 0, checked
    assert (checked.json["source"], checked.json["account"]["id"]) == ("environment", "ada@example.com")
    assert ci("status", "--json").json["authenticated"] is True
    secrets = [json.loads(exported)["session"]["refreshToken"], CLIENT[1], *colab.world.tokens.access]
    for path in (path for path in ci.home.rglob("*") if path.is_file()):
        assert not any(secret in path.read_text() for secret in secrets), path
    ci.variables["LECODER_CGPU_CREDENTIALS"] = "{nonsense"
    assert failed(ci("auth", "check", "--json"))["errorCode"] == 2009


def adc(colab: FakeColab, path: Path, scopes: tuple[str, ...] = SCOPES) -> str:
    content = {
        "type": "authorized_user",
        "client_id": CLIENT[0],
        "client_secret": CLIENT[1],
        "refresh_token": colab.login(scopes),
    }
    path.write_text(json.dumps(content))
    return str(path)


def test_application_default_credentials(colab: FakeColab, tmp_path: Path) -> None:
    """By the variable, and by --adc until the next login; without the scope, nothing changes and the fix is named."""
    cli = points_at(Cli(tmp_path / "home"), colab)
    named = {"GOOGLE_APPLICATION_CREDENTIALS": adc(colab, tmp_path / "adc.json")}
    assert cli("auth", "check", "--json", env=named).json["source"] == "adc"
    poor = {"GOOGLE_APPLICATION_CREDENTIALS": adc(colab, tmp_path / "poor.json", ("openid", EMAIL))}
    refused = cli("auth", "login", "--adc", "--json", env=poor)
    assert "gcloud auth application-default login" in failed(refused)["error"]["suggestion"]
    cli.variables["CLOUDSDK_CONFIG"] = str(tmp_path / "gcloud")
    assert failed(cli("auth", "login", "--adc", "--json"))["errorCode"] == 2009
    assert cli("auth", "status", "--json").json["authenticated"] is False
    (tmp_path / "gcloud").mkdir()
    adc(colab, tmp_path / "gcloud" / "application_default_credentials.json")
    chosen = cli("auth", "login", "--adc", "--json")
    assert (chosen.code, chosen.json["source"]) == (0, "adc")
    assert chosen.json["account"]["id"] == "ada@example.com"
    assert two_steps(cli).json["source"] == "session"


# --- access tokens ---


def test_twenty_processes_make_one_refresh(colab: FakeColab, colab_cli: Cli) -> None:
    """However many want a token at once, one of them asks for it."""
    processes = [colab_cli.start("auth", "check", "--json") for _ in range(20)]
    for process in processes:
        out, err = process.communicate(timeout=150)
        assert process.returncode == 0, err
        validate(json.loads(out), "auth-status")
    assert colab.count("POST /token") == 1


def test_a_token_is_kept_until_five_minutes_are_left(colab: FakeColab, colab_cli: Cli) -> None:
    """It is used from the cache, and replaced in time."""
    first = library(colab_cli).access_token()
    path = colab_cli.state / "token.json"

    def age(seconds: float) -> None:
        path.write_text(json.dumps(token(colab_cli) | {"obtainedAt": time.time() - 3599 + seconds}))

    age(310)
    assert library(colab_cli).access_token() == first
    age(290)
    second = library(colab_cli).access_token()
    assert second != first
    age(290)
    colab.fail("oauth:POST /token", times=None, drop=True)
    assert library(colab_cli).access_token() == second  # Google cannot be asked; it lasts for a while yet
    age(-10)
    with pytest.raises(errors.ConnectionFailed):
        library(colab_cli).access_token()
    assert session(colab_cli)["refreshToken"]


def test_the_server_knows_better_than_the_clock(colab: FakeColab, colab_cli: Cli) -> None:
    """A token that was refused is replaced once for all who were refused; a clock set back does not keep an old one."""
    first = library(colab_cli).access_token()
    one, two = library(colab_cli), library(colab_cli)
    assert one.access_token() == two.access_token() == first
    second = one.access_token(rejected=first)
    assert two.access_token(rejected=first) == second != first
    assert colab.count("POST /token") == 2
    path = colab_cli.state / "token.json"
    path.write_text(json.dumps(token(colab_cli) | {"obtainedAt": time.time() + 86400}))
    assert library(colab_cli).access_token() != second
    colab.expire_access_tokens()
    assert colab_cli("auth", "check", "--json").code == 0  # noticed and replaced


def test_short_tokens_make_no_storm(colab: FakeColab, colab_cli: Cli) -> None:
    """Tokens that live for a minute are used for half of it."""
    colab.switches.access_ttl = 60
    login = library(colab_cli)
    assert len({login.access_token() for _ in range(10)}) == 1


def test_trouble_never_ends_a_login(colab: FakeColab, colab_cli: Cli) -> None:
    """Whatever the network does, the stored login stays as it was, and the error is worth another try."""
    before = (colab_cli.state / "session.json").read_bytes()
    portal = b"<html>portal</html>"
    for fault in ({"status": 503}, {"drop": True}, {"status": 200, "body": portal}, {"status": 404, "body": portal}):
        colab.fail("oauth:POST /token", times=None, **fault)
        with pytest.raises(errors.ConnectionFailed) as caught:
            library(colab_cli).access_token()
        assert caught.value.retryable
        assert (colab_cli.state / "session.json").read_bytes() == before
        colab.mend()
    colab.fail("oauth:POST /token", times=None, drop=True)
    assert failed(colab_cli("auth", "check", "--json"))["errorCode"] == 1006
    colab.mend()
    assert colab_cli("auth", "check", "--json").code == 0


def test_a_login_that_google_has_ended(colab: FakeColab, colab_cli: Cli) -> None:
    """`invalid_grant` alone makes us forget it; a client that is refused does not."""
    path = colab_cli.home / "config" / "config.json"
    good = path.read_text()
    path.write_text(good.replace(CLIENT[1], "wrong"))
    assert failed(colab_cli("auth", "check", "--json"))["error"]["name"] == "ClientRefused"
    assert session(colab_cli)
    path.write_text(good)
    colab.revoke_logins()
    assert failed(colab_cli("auth", "check", "--json"))["error"]["name"] == "LoginExpired"
    assert not (colab_cli.state / "session.json").exists()
    assert failed(colab_cli("auth", "check", "--json"))["error"]["name"] == "NotLoggedIn"


def test_a_killed_refresh_leaves_no_lock(colab: FakeColab, colab_cli: Cli) -> None:
    """A process that dies while Google is asked stands in nobody's way."""
    hang = colab.fail("oauth:POST /token", hang=True)
    process = colab_cli.start("auth", "check", "--json")
    deadline = time.monotonic() + 60
    while not hang.hits and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert colab_cli("auth", "check", "--json").code == 0
