"""Which kernel runs a notebook: that of its kernelspec's name, else one of its language. The choice is not kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import errors
from ..jupyter.kernelspecs import PYTHON, language_of

if TYPE_CHECKING:
    from ..sessions.session import Session


def _named(notebook: Any) -> tuple[str, str]:
    """The kernel's name that the notebook has, and its language; empty texts for what it does not say."""
    spec, info = notebook.metadata.get("kernelspec"), notebook.metadata.get("language_info")
    spec, info = spec if isinstance(spec, dict) else {}, info if isinstance(info, dict) else {}
    name = spec.get("name")
    name = name if isinstance(name, str) else ""
    return name, language_of(spec.get("language") or info.get("name"), name)


def language(notebook: Any, kernel_name: str | None = None) -> str:
    """The language of a notebook as far as it is known before a kernel was chosen; Python when nothing says otherwise.

    Args:
        kernel_name: the kernel that the user wants instead of the notebook's own.
    """
    return (kernel_name and language_of(None, kernel_name)) or _named(notebook)[1] or PYTHON


def check(notebook: Any, origin: str, session: Session) -> None:
    """Refuse a notebook that none of the session's kernels can run, where that is known before a runtime is started.

    Raises:
        errors.UsageError: (`WrongLanguage`)
    """
    known, wanted = session.backend.languages, _named(notebook)[1]
    if known is not None and wanted and wanted not in known:
        raise _wrong(origin, wanted, ", ".join(known))


def choose(session: Session, notebook: Any, origin: str, kernel_name: str | None = None) -> str:
    """Have the session use the kernel that the notebook needs, for this command only; returns its language.

    Args:
        origin: the notebook, for messages.
        kernel_name: take this kernel, whatever the notebook says.

    Raises:
        errors.UsageError: (`NoSuchKernel`, `WrongLanguage`) the server has no such kernel. errors.Error: see
            `Session.use_kernel`.
    """
    if kernel_name is not None:
        return session.use_kernel(kernel_name, keep=False).language or language(notebook, kernel_name)
    name, wanted = _named(notebook)
    own = session.record.kernel
    if not (name or wanted) or (own is not None and own.name and own.name == name):
        return session.language()
    language_here = session.language()  # asks the server what a kernel of an old record is
    specs = session.kernel_specs
    if specs is None:
        return language_here
    found = specs.find(name) if name else None
    if found is None:
        own = session.record.kernel
        found = specs.of_language(wanted or PYTHON, session.record.kernel_name if own is None else own.name)
        if found is None:
            raise _wrong(origin, wanted or PYTHON, specs.names())
        if name:
            session.notify(f"{origin} names kernel {name!r}, which the server does not have; {found.label} runs it")
    session.use_kernel(found.name, keep=False)
    return found.language or wanted or PYTHON


def _wrong(origin: str, wanted: str, there: str) -> errors.UsageError:
    return errors.UsageError(
        f"{origin} is written in {wanted}, and no kernel there runs that; there is {there}",
        name="WrongLanguage",
        hint="--kernel-name NAME runs it in another one; set metadata.kernelspec if the notebook is wrong about itself",
    )
