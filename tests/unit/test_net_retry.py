"""The one way to try again: which failures are, how often, how long, and what is raised in the end."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.net.retry import RETRY_AFTER_MOST, persist, reconnect, transient


class Flaky:
    """An action that fails with these errors, one a call, and succeeds after the last of them."""

    def __init__(self, *failures: BaseException) -> None:
        self.failures = list(failures)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return "done"


def failed(retry_after: float | None = None) -> errors.ConnectionFailed:
    error = errors.ConnectionFailed("no answer", name="ServerError")
    error.retry_after = retry_after
    return error


def test_transient_failures_are_repeated() -> None:
    """The action is repeated until it succeeds, and its value is returned."""
    action = Flaky(failed(), failed())
    assert persist(action, pause=0.001) == "done"
    assert action.calls == 3


def test_the_last_failure_is_raised() -> None:
    """After the last attempt the error of that attempt is raised, as it is."""
    last = failed()
    action = Flaky(failed(), failed(), last, failed())
    with pytest.raises(errors.ConnectionFailed) as raised:
        persist(action, attempts=3, pause=0.001)
    assert raised.value is last
    assert action.calls == 3


@pytest.mark.parametrize(
    "error",
    [
        errors.UsageError("no"),
        errors.ConnectionFailed("no", retryable=False),
        errors.ConnectionRefused("nothing listens", hint="none"),
        errors.ReadTimeout("no answer", hint="none"),
        failed(retry_after=RETRY_AFTER_MOST + 1),
        ValueError("not ours"),
    ],
)
def test_what_no_repetition_helps_is_raised_at_once(error: Exception) -> None:
    """Nothing is tried again where it hardly helps; errors that are not ours pass through, too."""
    action = Flaky(error)
    with pytest.raises(type(error)) as raised:
        persist(action, pause=0.001)
    assert raised.value is error
    assert action.calls == 1


def test_an_error_that_is_not_ours_ends_the_repetition() -> None:
    """Also in a later attempt."""
    action = Flaky(failed(), OSError("not ours"))
    with pytest.raises(OSError, match="not ours"):
        persist(action, pause=0.001)


def test_a_server_that_names_a_pause_is_obeyed() -> None:
    """Retry-After replaces our own pause, in the first repetition and in later ones."""
    for action in (Flaky(failed(retry_after=0.2)), Flaky(failed(), failed(retry_after=0.2))):
        begun = time.monotonic()
        assert persist(action, pause=0.001) == "done"
        assert time.monotonic() - begun >= 0.2


def test_there_is_a_pause_before_each_attempt() -> None:
    """No repetition follows its failure at once."""
    at: list[float] = []

    def action() -> None:
        at.append(time.monotonic())
        raise failed()

    with pytest.raises(errors.ConnectionFailed):
        persist(action, attempts=4, pause=0.02)
    pauses = [later - earlier for earlier, later in itertools.pairwise(at)]
    assert [pause >= least for pause, least in zip(pauses, (0.02, 0.04, 0.08), strict=True)] == [True] * 3


def test_the_limit_ends_a_reconnection() -> None:
    """Without a limit to the attempts, time is the end."""
    begun = time.monotonic()
    with pytest.raises(errors.ConnectionFailed):
        reconnect(Flaky(*(failed() for _ in range(1000))), again=transient, limit=0.4)
    assert 0.4 <= time.monotonic() - begun < 5


def test_each_failure_is_told_once() -> None:
    """`again` may tell a person what is waited for: it hears of each failure once, in order."""
    told: list[errors.Error] = []
    failures = [failed(), failed(), failed()]

    def again(error: errors.Error) -> bool:
        told.append(error)
        return True

    assert reconnect(Flaky(*failures), again=again, limit=30) == "done"
    assert told == failures


@pytest.mark.parametrize("number", [1, 2])
def test_what_again_raises_ends_the_repetition(number: int) -> None:
    """Who decides may find out that all is lost, after the first failure or a later one."""
    told: list[errors.Error] = []

    def again(error: errors.Error) -> bool:
        told.append(error)
        if len(told) == number:
            raise errors.LostError("the runtime is gone", hint="none")
        return True

    with pytest.raises(errors.LostError):
        reconnect(Flaky(failed(), failed(), failed()), again=again, limit=30)
    assert len(told) == number


def test_success_imports_nothing() -> None:
    """An action that succeeds at once does not pay for the library."""
    code = (
        "import sys\nfrom lecoder_cgpu.net.retry import persist\n"
        "assert persist(lambda: 1) == 1\nprint('stamina' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_many_repetitions_leave_no_handlers_behind() -> None:
    """A process that lives for weeks does not gather them."""
    import logging

    def repeated(times: int) -> int:
        for _ in range(times):
            persist(Flaky(failed()), pause=0.0001)
        return len(logging.getLogger("stamina").handlers)

    assert repeated(1) == repeated(3)


def test_nothing_is_written_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    """What the library logs of each try stays unseen where nobody set up logging."""
    assert persist(Flaky(failed(), failed()), pause=0.001) == "done"
    assert capfd.readouterr() == ("", "")
