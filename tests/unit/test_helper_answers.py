"""What the helper answers, and what something else in its kernel may send in its place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from lecoder_cgpu import errors
from lecoder_cgpu.helper import answers
from lecoder_cgpu.jupyter import messages
from tests.support.odd_json import anything


def reply(expression: Any, **content: Any) -> messages.Message:
    return messages.Message(channel="shell", content={"user_expressions": {"r": expression}, **content})


def test_an_answer() -> None:
    """It is found in the reply, and becomes a document."""
    answer = answers.answer_of(reply({"status": "ok", "data": {answers.MIME: {"ok": True, "sent": True}}}))
    assert answers.typed(answer, answers.Sent).sent


def test_no_helper() -> None:
    """A kernel in which our version is not installed says so by a KeyError; anything else is a failure to start."""
    with pytest.raises(KeyError):
        answers.answer_of(reply({"status": "error", "ename": "KeyError", "evalue": "lecoder"}))
    with pytest.raises(errors.HelperFailed, match="MemoryError: no room"):
        answers.answer_of(reply({"status": "error", "ename": "MemoryError", "evalue": "no room"}))
    with pytest.raises(errors.HelperFailed, match="aborted"):
        answers.answer_of(messages.Message(content={"status": "aborted"}))


def test_a_kernel_of_another_language() -> None:
    """It executes nothing of ours and reports success (bash_kernel, IRkernel); the error names what is missing."""
    with pytest.raises(errors.HelperFailed, match="does not run Python") as raised:
        answers.answer_of(messages.Message(content={"status": "ok", "execution_count": 0, "user_expressions": {}}))
    assert "ipykernel" in (raised.value.hint or "")


@given(anything)
def test_odd_replies(value: Any) -> None:
    """Whatever stands in the place of an answer is a failure of the connection, and no bug of ours."""
    odd = (
        messages.Message(content={"user_expressions": value}),
        reply(value),
        reply({"status": "ok", "data": value}),
        reply({"status": "ok", "data": {answers.MIME: value}}),
    )
    for message in odd:
        try:
            answer = answers.answer_of(message)
        except (errors.ConnectionFailed, KeyError):
            continue
        assert isinstance(answers.failure(answer), errors.Error)
        with pytest.raises(errors.UnexpectedAnswer):
            answers.typed({**answer, "runs": 5}, answers.Runs)


@given(anything)
def test_odd_pushes(value: Any) -> None:
    """They tell nothing."""
    assert answers.updates_of({"v": 1, "runs": [{"run": "run-1"}, value] if isinstance(value, str) else value}) == []


def test_refusals() -> None:
    """The helper's names choose our classes; an unknown one is a failure of the helper."""
    refused = answers.failure({"ok": False, "error": {"name": "KeyConflict", "message": "other input"}})
    assert isinstance(refused, errors.UsageError)
    assert (refused.name, refused.hint) == ("KeyConflict", "give another --key, or the same command as before")
    failed = answers.failure({"ok": False, "error": {"name": "OSError", "message": "disk full"}})
    assert isinstance(failed, errors.InternalError)
    assert "disk full" in failed.message
