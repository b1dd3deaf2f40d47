"""The kinds of kernels that a Jupyter server can start, and which of them is meant. Pure.

Listings come from servers of all kinds, so nothing in them is taken for what it should be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from .. import errors

PYTHON = "python"
PYTHON_NAME = "python3"  # what a server calls its usual Python kernel
_SAME = {"ipython": PYTHON, "python2": PYTHON, "python3": PYTHON, "js": "javascript", "ts": "typescript", "sh": "bash"}
# What a spec or a notebook that does not name its language runs, by the first letters of its kernel's name.
_BY_NAME = {
    "python": PYTHON, "xpython": PYTHON, "ir": "r", "xr": "r", "julia": "julia", "bash": "bash", "deno": "typescript",
}  # fmt: skip


def language_of(language: object, kernel: object = "") -> str:
    """A language in the one spelling that is compared here: small letters, and one name for each. What is missing is
    guessed from the kernel's name; an empty text is an unknown language."""
    name = str(language).strip().lower() if isinstance(language, str) else ""
    if not name and isinstance(kernel, str):
        first = kernel.lower().rstrip("0123456789.-_")
        name = _BY_NAME.get(first, "")
    return _SAME.get(name, name)


class KernelSpec(Struct, frozen=True, kw_only=True):
    """One kind of kernel: the name by which it is started, its language (see `language_of`), its name for people, and
    whether it is ipykernel, as far as its command tells."""

    name: str
    language: str = ""
    display_name: str = ""
    is_ipykernel: bool = False

    @property
    def is_usual_python(self) -> bool:
        """Whether it has the name that servers give their usual Python kernel."""
        return self.name == "python3"

    @property
    def label(self) -> str:
        """The name with the language, for people."""
        return f"{self.name} ({self.language})" if self.language else self.name


class Listing(Struct):
    """The answer of `api/kernelspecs`. What is in it is looked at row by row."""

    kernelspecs: dict[str, Any]
    default: Any = None


class KernelSpecs:
    """What one server offers. `default` is the name of its default, which the listing need not have."""

    def __init__(self, specs: Sequence[KernelSpec], default: str = PYTHON_NAME) -> None:
        self.specs = sorted(specs, key=lambda spec: spec.name)
        self.default = default

    @classmethod
    def of(cls, listing: Listing) -> KernelSpecs:
        """What a server answers; what in it is no spec is passed over."""
        specs = [_spec(name, row) for name, row in listing.kernelspecs.items() if isinstance(row, dict)]
        default = listing.default
        return cls(specs, default if isinstance(default, str) and default else PYTHON_NAME)

    def find(self, name: str) -> KernelSpec | None:
        """The spec of that name; servers write names in small letters, people need not."""
        exact = next((spec for spec in self.specs if spec.name == name), None)
        return exact or next((spec for spec in self.specs if spec.name.lower() == name.lower()), None)

    def named(self, name: str) -> KernelSpec:
        """The spec of that name.

        Raises:
            errors.UsageError: (`NoSuchKernel`) the server has none.
        """
        found = self.find(name)
        if found is None:
            raise errors.UsageError(
                f"the server has no kernel {name!r}; it has {self.names()}",
                name="NoSuchKernel",
                hint="give one of these to --kernel-name; lecoder-cgpu kernel list",
            )
        return found

    def usual(self) -> KernelSpec:
        """What a session runs for which nobody has chosen: the server's default; where that is not to be had, Python;
        else the only kernel that there is (protocol J27).

        Raises:
            errors.UsageError: (`NoSuchKernel`) none of these can be told.
        """
        found = self.find(self.default) or self.python()
        if found is None and len(self.specs) == 1:
            return self.specs[0]
        if found is None:
            raise errors.UsageError(
                f"the server's default kernel {self.default!r} is not there; it has {self.names()}",
                name="NoSuchKernel",
                hint="choose one: --kernel-name NAME; lecoder-cgpu kernel list",
            )
        return found

    def python(self) -> KernelSpec | None:
        """The Python kernel that our own programs run in, preferably ipykernel under its usual name; None where there
        is none."""
        found = [spec for spec in self.specs if spec.language == PYTHON]
        return min(
            found,
            key=lambda spec: (not spec.is_ipykernel, not spec.is_usual_python, spec.name != self.default),
            default=None,
        )

    def of_language(self, language: str, preferred: str | None = None) -> KernelSpec | None:
        """A kernel of that language: the preferred one, else the server's default, else the first by name."""
        found = [spec for spec in self.specs if spec.language == language]
        if language == PYTHON and preferred not in [spec.name for spec in found]:
            return self.python()
        return min(found, key=lambda spec: (spec.name != preferred, spec.name != self.default), default=None)

    def names(self) -> str:
        """All names, for people."""
        return ", ".join(spec.label for spec in self.specs) or "no kernel at all"


def _spec(name: str, row: dict[str, Any]) -> KernelSpec:
    found = row.get("spec")
    spec: dict[str, Any] = found if isinstance(found, dict) else {}
    shown, command = spec.get("display_name"), spec.get("argv")
    words = [str(word) for word in command] if isinstance(command, list) else []
    return KernelSpec(
        name=name,
        language=language_of(spec.get("language"), name),
        display_name=shown if isinstance(shown, str) else "",
        is_ipykernel=any("ipykernel" in word or "colab_kernel_launcher" in word for word in words),
    )
