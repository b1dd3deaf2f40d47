"""Where notebooks come from and go to beyond files in Jupyter's format: texts, addresses, stores, jobs, the history."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import nbformat
import pytest
import trustme

from lecoder_cgpu import errors
from lecoder_cgpu.net import http
from lecoder_cgpu.notebooks import remote
from tests.support.cli import Cli
from tests.support.notebooks import code, read, write

pytest.importorskip("fsspec")

TEXTS = {
    "n.md": '# T\n\n```python tags=["parameters"]\nn = 1\n```\n\n```python\nprint(n * 2)\n```\n',
    "n.Rmd": "---\ntitle: T\n---\n\n```{python tags=c('parameters')}\nn = 1\n```\n\n```{python}\nprint(n * 2)\n```\n",
    "n.qmd": "# T\n\n```{python}\n#| echo: false\nn = 3\n```\n\n```{python}\nprint(n * 2)\n```\n",
    "light.py": "# # T\n\n# + tags=['parameters']\nn = 1\n# -\n\nprint(n * 2)\n",
    "plain.py": "n = 3\n\n\ndef double(x):\n\n    return x * 2\n\n\nprint(double(n))\n",
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PLOT = f"import base64\nfrom IPython.display import Image, display\ndisplay(Image(base64.b64decode('{PIXEL}')))"


@pytest.mark.parametrize("name", TEXTS)
def test_texts_run_as_notebooks(lab: Cli, tmp_path: Path, name: str) -> None:
    """`notebook run`, and `run` where the name says it, read them by jupytext, with parameters; the text stays."""
    (tmp_path / name).write_text(TEXTS[name])
    short = () if name.endswith(".py") else ("run",)
    options = ("-p", "n=3") if "tags" in TEXTS[name] else ()
    done = lab(*(short or ("notebook", "run")), str(tmp_path / name), *options)
    assert (done.code, done.out) == (0, "6\n"), done
    executed = read(tmp_path / name.replace(Path(name).suffix, ".executed.ipynb"))
    assert executed.cells[-1].outputs[0].text == "6\n"
    assert (tmp_path / name).read_text() == TEXTS[name]


def test_a_command_that_only_ends_like_a_notebook(lab: Cli, tmp_path: Path) -> None:
    """`cat notes.md` in one word is a command; a text in another language than the kernel's is refused by name."""
    assert lab("run", "echo notes.md").out == "notes.md\n"
    if shutil.which("R"):
        pytest.skip("its kernel may be here")
    (tmp_path / "r.Rmd").write_text("```{r}\nx <- 1\n```\n")
    refused = lab("run", str(tmp_path / "r.Rmd"), "--json")
    assert refused.code != 0
    assert "R" in refused.json["error"]["message"]


# --- addresses --------------------------------------------------------------------------------------------------------


class _Files(BaseHTTPRequestHandler):
    """Serves `files`, redirects /moved, and never ends /endless."""

    files: dict[str, bytes]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/moved.ipynb":
            self.send_response(302)
            self.send_header("Location", "/n.ipynb")
            self.end_headers()
            return
        if path == "/endless":
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):  # nobody listens any more
                while True:
                    self.wfile.write(b"x")
                    time.sleep(0.05)
            return
        content = self.files.get(path)
        self.send_response(404 if content is None else 200)
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A server with https, and the file with its authority."""
    folder = tmp_path_factory.mktemp("web")
    notebook = nbformat.v4.new_notebook(cells=[code("a = 1", "parameters"), code("print('fetched', a)")])
    _Files.files = {"/n.ipynb": nbformat.writes(notebook).encode(), "/large": b"x" * 5000}
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Files)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}", folder / "ca.pem"
    server.shutdown()
    server.server_close()


def test_a_notebook_of_the_web(lab: Cli, tmp_path: Path, web: tuple[str, Path]) -> None:
    """It is read through redirections; the executed one is a file here; queries are in no document and no history."""
    address, authority = web
    environment = {"SSL_CERT_FILE": str(authority)}
    out = tmp_path / "out.ipynb"
    line = ["notebook", "run", f"{address}/moved.ipynb?token=s3cr3t", "-p", "a=5", "-o", str(out), "--json"]
    done = lab(*line, env=environment)
    assert (done.code, done.json["cells"][-1]["stdout"]) == (0, "fetched 5\n"), done
    assert done.json["notebook"] == f"{address}/moved.ipynb"
    assert "s3cr3t" not in done.out + lab("logs", "-n", "1", "--json").out + out.read_text()
    missing = lab("run", f"{address}/none.ipynb", "--json", env=environment)
    assert (missing.code, missing.json["error"]["name"]) == (66, "NotFoundError"), missing
    refused = lab("run", f"{address}/n.ipynb", "-o", f"{address}/o.ipynb", "--json", env=environment)
    assert (refused.code, refused.json["error"]["name"]) == (2, "NotWritable")
    plain = lab("run", "http://example.invalid/n.ipynb", "--json")
    assert (plain.code, plain.json["error"]["name"]) == (2, "InsecureOrigin")


def test_what_is_fetched_is_bounded(web: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """In size and in time, and GitHub's pages become what they show."""
    address, authority = web
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    assert len(http.fetch(f"{address}/large", most=100, timeout=30)) == 101
    monkeypatch.setattr(remote, "MOST", 100)
    with pytest.raises(errors.UsageError, match="larger than"):
        remote.read(f"{address}/large")
    with pytest.raises(errors.ConnectionFailed, match="did not come whole"):
        http.fetch(f"{address}/endless", most=10_000_000, timeout=1)
    asked: list[str] = []

    def fetched(url: str, **_: Any) -> bytes:
        asked.append(url)
        return b""

    monkeypatch.setattr(http, "fetch", fetched)
    for page in ("github.com", "colab.research.google.com/github"):
        remote.read(f"https://{page}/owner/repo/blob/main/a/n.ipynb?x=1")
    assert asked == ["https://raw.githubusercontent.com/owner/repo/main/a/n.ipynb"] * 2


def test_a_store(lab: Cli, tmp_path: Path) -> None:
    """fsspec reads and writes it; what it lacks for a kind of store is named before anything runs."""
    source = write(tmp_path / "n.ipynb", code("print('from a store')"))
    done = lab("notebook", "run", f"file://{source}", "-o", f"file://{tmp_path}/out.ipynb", "--json")
    assert (done.code, done.json["output"]) == (0, f"file://{tmp_path}/out.ipynb"), done
    assert read(tmp_path / "out.ipynb").cells[0].outputs[0].text == "from a store\n"
    remote.write("memory://bucket/n.ipynb", b"{}")
    assert remote.read("memory://bucket/n.ipynb") == b"{}"
    with pytest.raises(errors.NotFoundError):
        remote.read("memory://bucket/none.ipynb")
    with pytest.raises(errors.UsageError, match="no address"):
        remote.read("nosuch://bucket/n.ipynb")
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "fsspec.py").write_text("raise ImportError('not installed')")
    lacks = lab("run", str(source), "-o", "s3://b/n.ipynb", "--json", env={"PYTHONPATH": str(tmp_path / "hidden")})
    assert (lacks.code, lacks.json["error"]["name"]) == (78, "MissingExtra")
    assert "lecoder-cgpu[remote-files]" in lacks.json["error"]["suggestion"]


# --- watched for a while, and remembered ------------------------------------------------------------------------------


def test_watching_for_a_while(lab: Cli, tmp_path: Path) -> None:
    """--wait ends the watching, not the notebook: 124 with what there is; with enough of it, the notebook is whole."""
    source = write(tmp_path / "n.ipynb", code("print('begun')\nimport time; time.sleep(90)"), code("print('end')"))
    left = lab("run", str(source), "--wait", "3", "--json")
    assert (left.code, left.json["status"], left.json["exitCode"]) == (124, "running", 124), left
    job = left.json["jobId"]
    assert job in left.json["notice"]
    assert lab("job", "kill", job).code == 0
    lab("job", "wait", job)
    quick = write(tmp_path / "q.ipynb", code("print('quick')"), code("1/0"))
    done = lab("run", str(quick), "--wait", "100", "-o", str(tmp_path / "o.ipynb"))
    assert (done.code, done.out) == (1, "quick\n"), done
    assert [item.output_type for cell in read(tmp_path / "o.ipynb").cells for item in cell.outputs] == [
        "stream",
        "error",
    ]
    refused = lab("run", str(quick), "--wait", "1", "--stdin", "--json")
    assert (refused.code, refused.json["error"]["name"]) == (2, "ConflictingOptions")


def test_the_history_has_what_a_notebook_showed(lab: Cli, tmp_path: Path) -> None:
    """Text, results and images, watched or fetched later, in `logs`, `logs show` and on the page."""
    source = write(tmp_path / "n.ipynb", code("print('said')\n6 * 7"), code(PLOT))
    watched = lab("run", str(source), "--json").json["runId"]
    job = lab("run", str(source), "--detach").out.strip()
    assert lab("job", "wait", job).code == 0
    assert lab("notebook", "fetch", job, "-o", str(tmp_path / "f.ipynb")).code == 0
    for run in (watched, job):
        entry = lab("logs", "show", run, "--json").json
        assert (entry["runId"], entry["stdout"].splitlines()[0], entry["status"]) == (run, "said", "ok")
        assert [list(shown["data"]) for shown in entry["display_data"]] == [["text/plain"], ["image/png", "text/plain"]]
        page = lab("logs", "show", run, "--html", "-").out
        assert base64.b64encode(base64.b64decode(PIXEL)).decode() in page
        assert run in page
    assert len([item for item in lab("logs", "--json").json if item.get("runId") == job]) == 1


def test_an_image_that_was_not_shown_says_where_it_is(lab: Cli, tmp_path: Path) -> None:
    """For people only, and not when --outputs has kept it; the command that is named works."""
    done = lab("run", "-m", "kernel", PLOT)
    assert "an image was not shown: lecoder-cgpu logs show run-" in done.err
    run = done.err.partition("logs show ")[2].split()[0]
    assert PIXEL in lab("logs", "show", run, "--html", "-").out
    kept = lab("run", "-m", "kernel", "--outputs", str(tmp_path / "kept"), PLOT)
    assert "not shown" not in kept.err
    assert json.loads((tmp_path / "kept" / "manifest.json").read_text())
