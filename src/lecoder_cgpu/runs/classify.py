"""What a failure of user code means: from an exception or a failed process to a code, a category and a suggestion.

Pure. Classification goes by the exception's class hierarchy first (known here for Python's own exceptions, told by the
kernel for all others), then by its name, and by its message only where the class says too little.
"""

from __future__ import annotations

import builtins
import re
import sys
from collections.abc import Sequence

from msgspec import UNSET

from .. import errors
from ..jupyter.screen import render, strip_ansi
from ..models.base import ErrorInfo
from . import languages

# Import name -> package name, where the two differ. A dotted name wins over its first part.
PACKAGES = {
    "Bio": "biopython",
    "Crypto": "pycryptodome",
    "Levenshtein": "levenshtein",
    "MySQLdb": "mysqlclient",
    "OpenSSL": "pyopenssl",
    "PIL": "pillow",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "faiss": "faiss-cpu",
    "fitz": "pymupdf",
    "gi": "PyGObject",
    "git": "gitpython",
    "github": "pygithub",
    "google.auth": "google-auth",
    "google.cloud.bigquery": "google-cloud-bigquery",
    "google.cloud.storage": "google-cloud-storage",
    "google.genai": "google-genai",
    "google.generativeai": "google-generativeai",
    "google.protobuf": "protobuf",
    "googleapiclient": "google-api-python-client",
    "hydra": "hydra-core",
    "igraph": "python-igraph",
    "jose": "python-jose",
    "jwt": "pyjwt",
    "kafka": "kafka-python",
    "ldap": "python-ldap",
    "lightning_fabric": "lightning",
    "magic": "python-magic",
    "mpl_toolkits": "matplotlib",
    "nacl": "pynacl",
    "osgeo": "gdal",
    "pkg_resources": "setuptools",
    "pptx": "python-pptx",
    "psycopg2": "psycopg2-binary",
    "pytorch_lightning": "pytorch-lightning",
    "rest_framework": "djangorestframework",
    "ruamel": "ruamel.yaml",
    "sentence_transformers": "sentence-transformers",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "slugify": "python-slugify",
    "socks": "pysocks",
    "tensorflow_datasets": "tensorflow-datasets",
    "tensorflow_hub": "tensorflow-hub",
    "torch_geometric": "torch-geometric",
    "umap": "umap-learn",
    "usb": "pyusb",
    "websocket": "websocket-client",
    "win32api": "pywin32",
    "wx": "wxpython",
    "xdist": "pytest-xdist",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
}

# Exceptions of libraries by their bare names, for when the kernel did not tell their hierarchy.
_MEMORY_NAMES = {"OutOfMemoryError", "_ArrayMemoryError", "OOM", "CudaOutOfMemoryError"}
_IO_NAMES = {
    "SSLError",
    "SSLCertVerificationError",
    "gaierror",
    "herror",
    "URLError",
    "HTTPError",
    "ConnectError",
    "RemoteDisconnected",
    "IncompleteRead",
    "ProtocolError",
    "ChunkedEncodingError",
    "NewConnectionError",
    "MaxRetryError",
    "ReadError",
    "WriteError",
    "NetworkError",
    "LocalEntryNotFoundError",
    "RepositoryNotFoundError",
    "HfHubHTTPError",
    "ClientConnectorError",
    "ServerDisconnectedError",
    "BadZipFile",
    "SameFileError",
}
_NETWORK = re.compile(r"connection|network|ssl|gaierror|urlerror|remotedisconnected|incompleteread|disconnected", re.I)

# Messages that mean "out of memory" in exceptions whose class does not say so.
_MEMORY_MESSAGE = re.compile(
    r"CUDA out of memory|CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED"
    r"|RESOURCE_EXHAUSTED"
    r"|OOM when allocating|HIP out of memory|MPS backend out of memory|DefaultCPUAllocator: (?:can't|not enough)"
    r"|[Cc]an(?:'t|not) allocate memory|Unable to allocate .* for an array|std::bad_alloc|CUDA_ERROR_OUT_OF_MEMORY"
)
# Of these, the text is the library's own; a ValueError may quote anything.
_MEMORY_BEARERS = {
    "RuntimeError",
    "OSError",
    "XlaRuntimeError",
    "JaxRuntimeError",
    "ResourceExhaustedError",
    "InternalError",
    "CudaError",
    "AcceleratorError",
    "CUDARuntimeError",
    "CublasError",
    "LibraryError",
    "UnknownError",
}

_BUILTINS = {
    name: [base.__name__ for base in value.__mro__]
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
}

# (a class in the hierarchy, what it means); the first row that matches decides.
_BY_CLASS: tuple[tuple[str, type[errors.Error]], ...] = (
    ("SyntaxError", errors.SyntaxFailure),
    ("ImportError", errors.ImportFailure),
    ("MemoryError", errors.MemoryFailure),
    ("OutOfMemoryError", errors.MemoryFailure),
    ("KeyboardInterrupt", errors.RuntimeFailure),
    ("UnicodeError", errors.RuntimeFailure),
    ("TimeoutError", errors.TimeoutFailure),
    ("TimeoutExpired", errors.TimeoutFailure),
    ("Timeout", errors.TimeoutFailure),
    ("OSError", errors.FileFailure),
)


def needs_bases(name: str) -> bool:
    """Whether only the kernel knows the hierarchy of this class: Python itself does not define it."""
    return bool(name) and _bare(name) not in _BUILTINS


def classify(name: str, message: str, bases: Sequence[str] = ()) -> type[errors.Error]:
    """The row of the table for an exception.

    Args:
        name: its class, dotted or not.
        message: its text.
        bases: names in its method-resolution order, when the kernel told them.
    """
    bare = _bare(name)
    if not bare:
        return errors.UnknownFailure
    hierarchy = [bare, *(_bare(base) for base in bases)]
    hierarchy += [base for known in list(hierarchy) for base in _BUILTINS.get(known, ())]
    if _is_memory(hierarchy, message):
        return errors.MemoryFailure
    for base, failure in _BY_CLASS:
        if base in hierarchy:
            return failure
    if "Timeout" in bare or bare.endswith("TimedOut"):
        return errors.TimeoutFailure
    if _IO_NAMES.intersection(hierarchy) or bare.endswith(("ConnectionError", "SSLError")):
        return errors.FileFailure
    return errors.RuntimeFailure


def exit_status(name: str, message: str) -> int | None:
    """The status that code gave to `sys.exit`; None for another exception, and for an exit with a message.

    Args:
        name: the exception's class. message: its text.
    """
    if name != "SystemExit":
        return None
    text = message.strip()
    if text in ("", "None", "False"):
        return 0
    return int(text) if re.fullmatch(r"-?\d{1,999}", text) else None


def _is_memory(hierarchy: Sequence[str], message: str) -> bool:
    if _MEMORY_NAMES.intersection(hierarchy):
        return True
    if hierarchy[0] == "OSError" and re.match(r"\[Errno 12\]", message):
        return True
    return bool(_MEMORY_BEARERS.intersection(hierarchy[:1]) and _MEMORY_MESSAGE.search(message))


def exception(name: str, message: str, traceback: Sequence[str], bases: Sequence[str] = ()) -> ErrorInfo:
    """The `error` of a document for an exception of the user's code, with advice."""
    failure = classify(name, message, bases)
    bare = _bare(name)
    return ErrorInfo(
        name=bare or "UnknownError",
        message=message,
        category=failure.category,
        description=failure.description,
        retryable=_is_transient(failure, bare, bases),
        traceback=[strip_ansi(line) for line in traceback],
        suggestion=_suggestion(failure, bare, message) or UNSET,
    )


def foreign(language: str, name: str, message: str, traceback: Sequence[str]) -> tuple[type[errors.Error], ErrorInfo]:
    """The row of the table, and the `error` of a document, for a failure of code in another language than Python."""
    name, message = languages.told(language, name, message)
    failure, advice = languages.meaning(language, name, message)
    info = _info(failure, name, message, advice)
    info.retryable = failure is errors.TimeoutFailure
    info.traceback = [strip_ansi(line) for line in traceback]
    return failure, info


def _is_transient(failure: type[errors.Error], name: str, bases: Sequence[str]) -> bool:
    if failure is errors.TimeoutFailure:
        return True
    if failure is not errors.FileFailure:
        return False
    hierarchy = [name, *(_bare(base) for base in bases), *_BUILTINS.get(name, ())]
    return any(base == "ConnectionError" or _NETWORK.search(base) for base in hierarchy)


_STOPPERS = {
    "kill": "sent by `job kill`",
    "interrupt": "because the command that watched it was interrupted",
    "lease": "because the runtime's lease had ended",
    "close": "because its session was closed",
}


def process(
    exit_code: int | None,
    signal: str | None,
    stderr_tail: str,
    command: str,
    *,
    timed_out: bool = False,
    stopped_by: str | None = None,
    out_of_memory: bool = False,
) -> tuple[type[errors.Error], ErrorInfo]:
    """What a process that did not end with 0 means.

    Args:
        exit_code: its status, None when a signal ended it.
        signal: the signal's name, such as SIGKILL.
        stderr_tail: the end of what it wrote to stderr.
        command: what was run, for naming it.
        timed_out: our time limit ended it.
        stopped_by: what or who ended it, by the names of `models.Stopped`; None when that is not known.
        out_of_memory: the system of the runtime has counted that it killed something then, as memory ran out.
    """
    if timed_out:
        limit = errors.TimeLimit
        if stopped_by == "idle-timeout":
            silent = "there was no output for as long as was allowed; the command was ended"
            return limit, _info(
                limit, "TimeLimit", silent, "allow more with --idle-timeout TIME (20m, 2h), or print progress"
            )
        return limit, _info(
            limit, "TimeLimit", "time limit reached; the command was ended", "allow more with --timeout TIME (20m, 2h)"
        )
    text = render(stderr_tail)
    if exit_code is not None and (raised := _python_exception(text)) is not None:
        name, message, lines = raised
        return classify(name, message), exception(name, message, lines)
    ended = (
        f"the command ended with exit status {exit_code}" if signal is None else f"the command was ended by {signal}"
    )
    if signal is not None and stopped_by in _STOPPERS:
        ended += f", {_STOPPERS[stopped_by]}"
        return errors.RuntimeFailure, _info(errors.RuntimeFailure, "Stopped", ended, None)
    if out_of_memory:
        why = f"{ended}: the system ran out of memory"
        return errors.MemoryFailure, _info(errors.MemoryFailure, "OutOfMemory", why, _MEMORY_ADVICE)
    if signal == "SIGKILL" or exit_code == 137:
        if re.search(r"out of memory|oom|\bKilled\b", text, re.I):
            return errors.MemoryFailure, _info(
                errors.MemoryFailure, "Killed", f"{ended}, and its output speaks of memory", _MEMORY_ADVICE
            )
        return errors.RuntimeFailure, _info(
            errors.RuntimeFailure,
            "Killed",
            f"{ended}; the kernel of the system does this when memory runs out",
            "look at the memory with: lecoder-cgpu status",
        )
    suggestion = None
    if exit_code == 127 and (missing := _missing_command(text, command)):
        import shlex

        ended += f": there is no command {missing!r} on the runtime"
        suggestion = f"install {shlex.quote(missing)}, or check its spelling"
    elif exit_code == 126:
        suggestion = "make the file executable (chmod +x), or run it with its interpreter"
    elif signal == "SIGSEGV" or exit_code == 139:
        suggestion = "native code crashed; check the versions of compiled packages"
    return errors.RuntimeFailure, _info(errors.RuntimeFailure, "ProcessFailed", ended, suggestion)


def _info(failure: type[errors.Error], name: str, message: str, suggestion: str | None) -> ErrorInfo:
    return ErrorInfo(
        name=name,
        message=message,
        category=failure.category,
        description=failure.description,
        retryable=failure.retryable,
        suggestion=suggestion or UNSET,
    )


def _python_exception(text: str) -> tuple[str, str, list[str]] | None:
    """Name, message and lines of the Python traceback at the end of `text`, if there is one."""
    start = text.rfind("Traceback (most recent call last):")
    if start < 0:
        start = text.rfind('  File "')  # a SyntaxError has no such head
        if start < 0 or not re.search("SyntaxError|IndentationError", text[start:]):
            return None
    lines = text[start:].rstrip().splitlines()
    for position, line in enumerate(lines[1:], 1):
        found = re.match(r"([A-Za-z_][\w.]*)(?:: (.*))?$", line)
        if found and (found[1][0].isupper() or "." in found[1] or found[1].startswith("_")):
            return found[1], found[2] or "", lines[: position + 1]
    return None


def _missing_command(text: str, command: str) -> str | None:
    found = re.search(r"(?:^|: )([^\s:]+): (?:command not found|not found|No such file or directory)", text, re.M)
    if found:
        return found[1]
    import shlex

    try:
        return shlex.split(command)[0]
    except (ValueError, IndexError):
        return None


_MEMORY_ADVICE = (
    "use a smaller batch or model, free what is not needed (lecoder-cgpu kernel restart), or a bigger machine"
)


def _missing_file(message: str) -> str:
    """The way of a file to the runtime, with its name if the message has one that can be typed."""
    told = "relative paths start in the runtime's working folder, not on this machine: lecoder-cgpu ls shows it"
    found = re.search(r"'((?!\.\.?/)[\w.][\w./-]{0,100})'$", message)
    return f"{told}; to send yours: lecoder-cgpu upload {found[1]} {found[1]}" if found else told


def _suggestion(failure: type[errors.Error], name: str, message: str) -> str | None:
    if failure is errors.ImportFailure:
        return _import_advice(name, message)
    if name == "StdinNotImplementedError":
        return "there is no terminal to ask; pass the value as a variable, or pipe it in with --stdin"
    if name == "NameError":
        return "define or import it first; names live in the kernel only until it is restarted"
    if name == "KeyboardInterrupt":
        return languages.INTERRUPTED
    if name == "FileNotFoundError":
        return _missing_file(message)
    if name == "PermissionError":
        return 'see who may use it there: lecoder-cgpu run "ls -la FOLDER"'
    by_kind: dict[type[errors.Error], str] = {
        errors.SyntaxFailure: "correct the line that the traceback names",
        errors.MemoryFailure: _MEMORY_ADVICE,
        errors.TimeoutFailure: "repeat the same command, or give that call more time",
        errors.FileFailure: "check the path or address in the message, then repeat the same command",
        errors.RuntimeFailure: "read the traceback: the last frame in your own code is where it failed",
        errors.UnknownFailure: "lecoder-cgpu debug tail",
    }
    return by_kind.get(failure)


def _import_advice(name: str, message: str) -> str:
    missing = re.search(r"No module named '?([\w.]+)'?", message)
    if missing is None:
        if "relative import" in message:
            return "run it as a part of its package: lecoder-cgpu run python -m PACKAGE.MODULE"
        return "the module is there but lacks that name: check its spelling and the installed version"
    module = missing[1]
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names:
        return f"{module} belongs to Python itself and is missing from the runtime's Python; pip cannot install it"
    return f"pip install {package(module)}"


def package(module: str) -> str:
    """The name of the package that probably provides a module."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        if known := PACKAGES.get(".".join(parts[:length])):
            return known
    return parts[0].replace("_", "-") if parts[0] not in ("google",) else "-".join(parts[:3]).replace("_", "-")


def _bare(name: str) -> str:
    return name.rpartition(".")[2].strip()
