"""Addresses that make no sense are refused as such, wherever a person or a variable names them."""

from __future__ import annotations

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.auth.consent import code_in
from lecoder_cgpu.auth.login_files import Pending
from lecoder_cgpu.backends import jupyter
from lecoder_cgpu.notebooks import remote


@pytest.mark.parametrize(
    "url", ["http://[::1/", "http://[x]/", "http://h:99999/", "http://h:²/", "//h/", "http://", ""]
)
def test_a_server(url: str) -> None:
    with pytest.raises(errors.UsageError, match="is not the address of a server"):
        jupyter.checked(url)


@pytest.mark.parametrize("url", ["http://[u:s3cret@h/", "http://u:s3cret@h:99999/", "http://[h/?token=s3cret"])
def test_what_it_hides_is_not_shown(url: str) -> None:
    with pytest.raises(errors.UsageError) as raised:
        jupyter.checked(url)
    assert "s3cret" not in raised.value.message


def test_a_notebook() -> None:
    with pytest.raises(errors.UsageError, match="makes no sense"):
        remote.shown("https://user:secret@[::1/n.ipynb")


def test_a_pasted_answer() -> None:
    pending = Pending(
        id="x", client_id="mine", state="s", verifier="v" * 43, redirect_uri="http://127.0.0.1:9/", expires_at=0
    )
    assert code_in("http://[::1/?state=s&code=4/x#y", pending) == "4/x"
