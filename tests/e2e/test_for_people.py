"""What a person meets first, and the commands for looking: the bare command, `top`, `open`."""

from __future__ import annotations

import http.server
import threading

from lecoder_cgpu.testing.colab import FakeColab
from tests.contract.test_documents import failed
from tests.support.cli import Cli
from tests.support.colab import logged_in, points_at
from tests.support.tmux import in_tmux, needs_tmux


def test_the_first_words(cli: Cli) -> None:
    """Without a session: what to try without an account, and how to go on; at most ten lines, each step a command."""
    result = cli(env={"LECODER_CGPU_BACKEND": "local"})
    lines = result.out.splitlines()
    assert (result.code, result.err) == (0, "")
    assert len(lines) <= 10
    assert "no runtime is held" in lines[0]
    assert any("--backend local run" in line for line in lines)
    assert all(step["command"].startswith("lecoder-cgpu ") for step in cli("--json").json["next"])


def test_on_the_way_to_colab(cli: Cli, colab: FakeColab) -> None:
    """What comes next: an OAuth client, a login, a runtime; `status` names an accelerator that is allowed."""
    assert "lecoder-cgpu auth setup" in cli().out
    points_at(cli, colab)
    assert "lecoder-cgpu auth setup" not in cli().out
    assert "lecoder-cgpu auth login" in cli().out
    logged_in(cli, colab)
    assert 'lecoder-cgpu run "nvidia-smi"' in cli().out
    assert 'start with: lecoder-cgpu run --gpu T4 "nvidia-smi"' in cli("status").out
    assert cli("sessions", "close", "--all").out == "There are no sessions.\n"


def test_where_you_stand(lab: Cli) -> None:
    """With a session: which one, the last run, and what makes sense next."""
    lab("run", "echo a remarkable command")
    out = lab().out
    assert f"session {lab.home.name} (jupyter) is the active one" in out
    assert "last run: ok, echo a remarkable command" in out
    assert f"lecoder-cgpu sessions close {lab.home.name}" in out
    assert len(out.splitlines()) <= 10


def test_where_you_stand_on_colab(colab: FakeColab, colab_cli: Cli) -> None:
    """Logged in, with detached work, and after a loss: never more than ten lines, and only what makes sense then."""

    def steps() -> list[str]:
        assert len(colab_cli().out.splitlines()) <= 10
        return [step["command"].removeprefix("lecoder-cgpu ") for step in colab_cli("--json").json["next"]]

    refused = colab_cli("run", "--gpu", "T5", "ls")
    assert (refused.code, "held" in refused.err) == (2, False)
    assert steps() == ['run "nvidia-smi"', "gpus", "status", "--help"]
    assert colab_cli("run", "--detach", "sleep 60").code == 0
    assert "session colab (Colab GPU T4) is the active one" in colab_cli().out
    assert {"job list", "sessions close colab"} <= set(steps())
    colab.kill()
    assert "gone" in colab_cli("ls").err
    assert "the runtime of session colab (Colab GPU T4) is gone" in colab_cli().out
    assert steps() == ["sessions ensure colab", "sessions clean", "sessions list", "--help"]


def test_damaged_state_is_told(cli: Cli) -> None:
    """A state file that cannot be read is named, and the rest is said all the same."""
    cli.state.mkdir(parents=True)
    (cli.state / "sessions.json").write_text("nonsense")
    result = cli()
    assert (result.code, result.err) == (0, "")
    assert "problem: " in result.out
    assert "lecoder-cgpu --help" in result.out


@needs_tmux
def test_top(cli: Cli) -> None:
    """The screen is drawn anew while commands come and go, at any size; it sorts, scrolls, outlives its session, and q
    and Ctrl-C are no failure."""
    cli = Cli(cli.home, {"LECODER_CGPU_BACKEND": "local"})
    job = cli("run", "--detach", "--name", "bar", "echo '40% 3.5it/s'; sleep 1000").out.strip()
    assert cli("top").out.split("\t")[0] == "local"
    with in_tmux(cli, "top", "--delay", "0.2", columns=80, rows=24) as terminal:
        assert " 40% " in terminal.wait("3.5 it/s")
        terminal.type("s")
        terminal.wait("sort: CPU")
        terminal.resize(40, 4)
        terminal.wait("↑↓ 1-2 of")
        terminal.key("Down")
        terminal.wait("↑↓ 2-3 of")
        terminal.resize(80, 24)
        cli("job", "kill", job)
        terminal.wait("nothing runs")
        cli("sessions", "close")
        terminal.wait("no runtime is held")
        terminal.key("q")
        terminal.wait("[status 0]")


def test_a_runtime_that_does_not_answer(cli: Cli) -> None:
    """It has its row, with the reason, and hides no other."""
    with _pages() as server:
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        cli("sessions", "add", "gone", "--url", url, "--token-stdin", stdin=b"secret")
    result = cli("top", "--json")
    assert (result.code, result.json["runtimes"][0]["connected"]) == (0, False)
    assert "no server answers" in cli("top").out


def _pages(*paths: str) -> http.server.ThreadingHTTPServer:
    """A server of which only these pages, and what proves a Jupyter server, are there."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # the least that a WebSocket's handshake is answered with

        def do_GET(self) -> None:
            known = {"/api": b'{"version": "2"}', "/api/kernels": b"[]", **dict.fromkeys(paths, b"page")}
            content = known.get(self.path)
            self.send_response(200 if content else 404)
            self.send_header("content-length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def test_open(cli: Cli, lab: Cli) -> None:
    """The page that the server really has, without the token; honest where there is none."""
    with _pages("/tree") as server:
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        cli("sessions", "add", "page", "--url", url, "--token-stdin", stdin=b"secret")
        result = cli("open", "page", "--print")
        assert (result.code, result.out) == (0, url + "tree\n")
        document = cli("open", "--json").json
        assert document["url"] == url + "tree"
        assert "secret" not in str(document)
        assert "lecoder-page.ipynb" in document["attaches"]
        server.shutdown()
    assert failed(lab("open", "--json"))["error"]["name"] == "NothingToOpen"
    notebook = cli("open", "--notebook", "1Ab/C", "--print").out
    assert notebook == "https://colab.research.google.com/drive/1Ab%2FC\n"


def test_the_history_as_a_page_on_stdout(lab: Cli) -> None:
    """`-` stands for stdout, and no file of that name is made."""
    lab("run", "echo on the page")
    page = lab("logs", "--html", "-", "-n", "1")
    assert page.code == 0, page
    assert page.out.startswith("<!DOCTYPE html>")
    assert "echo on the page" in page.out
    assert failed(lab("logs", "--html", "-", "--json"))["errorCode"] == 2006
