"""What failures mean: every row of the table, and every case that the predecessor got wrong."""

from __future__ import annotations

import builtins

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lecoder_cgpu import errors
from lecoder_cgpu.runs import classify

NETWORK = ["requests.exceptions.ConnectionError", "requests.exceptions.RequestException", "builtins.OSError"]


@pytest.mark.parametrize(
    ("name", "message", "bases", "code"),
    [
        ("SyntaxError", "invalid syntax", [], 1001),
        ("IndentationError", "unexpected indent", [], 1001),
        ("TabError", "", [], 1001),
        ("NameError", "name 'x' is not defined", [], 1002),
        ("KeyError", "'lr'", [], 1002),
        # Named by nobody's list, retried by the predecessor's users for nothing.
        ("UnicodeDecodeError", "", [], 1002),
        ("UnboundLocalError", "", [], 1002),
        ("NotImplementedError", "", [], 1002),
        ("OverflowError", "", [], 1002),
        ("FloatingPointError", "", [], 1002),
        ("ArithmeticError", "", [], 1002),
        ("LookupError", "", [], 1002),
        ("EOFError", "", [], 1002),
        ("JSONDecodeError", "Expecting value", ["json.decoder.JSONDecodeError", "builtins.ValueError"], 1002),
        ("CalledProcessError", "", ["subprocess.CalledProcessError", "subprocess.SubprocessError"], 1002),
        ("MyOwnError", "x", ["__main__.MyOwnError", "builtins.Exception"], 1002),
        ("KeyboardInterrupt", "", [], 1002),
        ("StdinNotImplementedError", "", [], 1002),
        ("SystemExit", "3", [], 1002),
        # Time.
        ("TimeoutError", "", [], 1003),
        (
            "ReadTimeout",
            "",
            ["requests.exceptions.ReadTimeout", "requests.exceptions.Timeout", "builtins.OSError"],
            1003,
        ),
        ("TimeoutExpired", "", ["subprocess.TimeoutExpired"], 1003),
        ("ServerTimedOut", "", [], 1003),
        # Memory.
        ("MemoryError", "", [], 1004),
        ("_ArrayMemoryError", "Unable to allocate 7.45 GiB for an array", ["builtins.MemoryError"], 1004),
        ("_ArrayMemoryError", "Unable to allocate 7.45 GiB for an array", [], 1004),
        ("torch.cuda.OutOfMemoryError", "CUDA out of memory. Tried to allocate", [], 1004),
        ("OutOfMemoryError", "CUDA out of memory.", ["torch.OutOfMemoryError", "builtins.RuntimeError"], 1004),
        ("RuntimeError", "CUDA out of memory. Tried to allocate 2 GiB", [], 1004),
        ("RuntimeError", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate", [], 1004),
        ("RuntimeError", "DefaultCPUAllocator: can't allocate memory: you tried to allocate", [], 1004),
        ("ResourceExhaustedError", "OOM when allocating tensor with shape", [], 1004),
        ("XlaRuntimeError", "RESOURCE_EXHAUSTED: Out of memory allocating", [], 1004),
        ("OSError", "[Errno 12] Cannot allocate memory", [], 1004),
        ("ValueError", "the paper says: CUDA out of memory", [], 1002),
        ("RuntimeError", "we ran out of memory lane", [], 1002),
        # Imports.
        ("ImportError", "cannot import name 'x' from 'y'", [], 1005),
        ("ModuleNotFoundError", "No module named 'pandas'", [], 1005),
        # Files and networks.
        ("OSError", "", [], 1006),
        ("FileNotFoundError", "", [], 1006),
        ("FileExistsError", "", [], 1006),
        ("PermissionError", "", [], 1006),
        ("BlockingIOError", "", [], 1006),
        ("InterruptedError", "", [], 1006),
        ("BrokenPipeError", "", [], 1006),
        ("ConnectionError", "", [], 1006),
        ("ConnectionResetError", "", [], 1006),
        ("SSLError", "", [], 1006),
        ("gaierror", "", [], 1006),
        ("URLError", "", [], 1006),
        ("ConnectionError", "", NETWORK, 1006),
        ("HTTPError", "", ["requests.exceptions.HTTPError", *NETWORK[1:]], 1006),
        ("Gone", "", ["__main__.Gone", "builtins.ConnectionError"], 1006),
        # Nothing to go by.
        ("", "", [], 1999),
    ],
)
def test_classification(name: str, message: str, bases: list[str], code: int) -> None:
    """Class hierarchy first, then name, then message."""
    assert classify.classify(name, message, bases).code == code


@pytest.mark.parametrize(
    "name", [name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, Exception)]
)
def test_builtins_need_no_question(name: str) -> None:
    """Python's own exceptions are classified alike with and without the kernel's answer."""
    bases = [f"builtins.{base.__name__}" for base in getattr(builtins, name).__mro__]
    assert classify.classify(name, "") == classify.classify(name, "", bases)
    assert not classify.needs_bases(name)


@given(st.text(), st.text(), st.lists(st.text(), max_size=3))
def test_anything_has_a_place(name: str, message: str, bases: list[str]) -> None:
    """Whatever a kernel says, there is exactly one row of the table for it, and an explanation."""
    assert classify.classify(name, message, bases) in set(errors.tree())
    assert classify.exception(name, message, [], bases).description


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("pandas", "pandas"),
        ("cv2", "opencv-python"),
        ("PIL", "pillow"),
        ("PIL.Image", "pillow"),
        ("sklearn", "scikit-learn"),
        ("sklearn.linear_model", "scikit-learn"),
        ("yaml", "pyyaml"),
        ("bs4", "beautifulsoup4"),
        ("google.cloud.storage", "google-cloud-storage"),
        ("sentence_transformers", "sentence-transformers"),
    ],
)
def test_the_package_of_a_module(module: str, package: str) -> None:
    """The suggestion installs what really provides the module."""
    info = classify.exception("ModuleNotFoundError", f"No module named '{module}'", [])
    assert info.suggestion == f"pip install {package}"


def test_no_install_where_it_would_not_help() -> None:
    """A missing name, a relative import and Python's own modules are not mended by pip."""
    for message in (
        "cannot import name 'x' from 'y' (/y.py)",
        "attempted relative import with no known parent package",
        "No module named '_tkinter'",
    ):
        assert not str(classify.exception("ImportError", message, []).suggestion).startswith("pip install")


def test_retryable_is_only_what_may_pass() -> None:
    """Networks and time-outs may; files that are not there and bugs will not."""
    assert classify.exception("ConnectionResetError", "", []).retryable
    assert classify.exception("ConnectionError", "", [], NETWORK).retryable
    assert classify.exception("TimeoutError", "", []).retryable
    assert not classify.exception("FileNotFoundError", "", []).retryable
    assert not classify.exception("ValueError", "", []).retryable


def test_tracebacks_are_plain() -> None:
    """No escape sequence reaches a document."""
    assert classify.exception("KeyError", "'x'", ["\x1b[31mKeyError\x1b[0m: 'x'"]).traceback == ["KeyError: 'x'"]


TRACEBACK = 'Traceback (most recent call last):\n  File "train.py", line 3, in <module>\n    import cv2\n'


@pytest.mark.parametrize(
    ("exit_code", "signal", "stderr", "code", "name"),
    [
        (1, None, TRACEBACK + "ModuleNotFoundError: No module named 'cv2'\n", 1005, "ModuleNotFoundError"),
        (1, None, TRACEBACK + "torch.cuda.OutOfMemoryError: CUDA out of memory.\n", 1004, "OutOfMemoryError"),
        (1, None, "x\n" + TRACEBACK + "KeyError: 'a'\nafterwards\n", 1002, "KeyError"),
        (1, None, '  File "<string>", line 1\n    1 +\n      ^\nSyntaxError: invalid syntax\n', 1001, "SyntaxError"),
        (7, None, "", 1002, "ProcessFailed"),
        (127, None, "bash: line 1: ffmpeg: command not found\n", 1002, "ProcessFailed"),
        (126, None, "", 1002, "ProcessFailed"),
        (None, "SIGSEGV", "", 1002, "ProcessFailed"),
        (None, "SIGKILL", "", 1002, "Killed"),
        (137, None, "Killed process 12 (python): out of memory", 1004, "Killed"),
    ],
)
def test_processes(exit_code: int | None, signal: str | None, stderr: str, code: int, name: str) -> None:
    """What stderr and the status say together."""
    failure, info = classify.process(exit_code, signal, stderr, "ffmpeg -i x")
    assert (failure.code, info.name) == (code, name)
    if exit_code == 127:
        assert "ffmpeg" in info.message


def test_our_time_limit_is_not_the_programs_failure() -> None:
    """Code 1003, and the advice is about --timeout."""
    failure, info = classify.process(None, "SIGINT", "", "x", timed_out=True)
    assert failure is errors.TimeLimit
    assert "--timeout" in str(info.suggestion)
