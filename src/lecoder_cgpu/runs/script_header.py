"""What a script says of itself in its header: the packages that it needs (PEP 723). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .. import errors

_BLOCK = re.compile(r"(?m)^# /// script\s*$\s(?P<content>(^#(| .*)$\s)+)^# ///\s*$")

_BEGUN = re.compile(
    r"(?m)^# /// script\s*$\s^#(?! ///\s*$)"
)  # and more than that line alone, which may stand in any text


@dataclass(frozen=True)
class Header:
    """The packages that a script needs, as pip takes them, and the versions of Python that it is for."""

    dependencies: list[str] = field(default_factory=list)
    python: str | None = None

    @property
    def asks(self) -> bool:
        """Whether there is something to look after before the script runs."""
        return bool(self.dependencies) or self.python is not None

    def fits(self, version: str) -> bool:
        """Whether a version of Python is one that the script is for; also where that cannot be told."""
        from packaging.specifiers import SpecifierSet
        from packaging.version import InvalidVersion, Version

        if self.python is None:
            return True
        try:
            return SpecifierSet(self.python).contains(Version(version), prereleases=True)
        except InvalidVersion:
            return True


def read(text: str, origin: str) -> Header:
    """The header of a script; an empty one when there is none.

    Raises:
        errors.UsageError: it is not what PEP 723 says.
    """
    text = text.replace("\r\n", "\n")
    blocks = list(_BLOCK.finditer(text if text.endswith("\n") else text + "\n"))

    def refuse(what: str) -> errors.UsageError:
        return errors.UsageError(
            f"{origin}: the header (# /// script) {what}",
            name="BadScriptHeader",
            hint='packages are texts in []: # dependencies = ["rich"]; versions one: # requires-python = ">=3.10"',
        )

    if not blocks:
        if _BEGUN.search(text):
            raise refuse("has no end: a line # /// behind lines that begin with # and a blank")
        return Header()
    import tomllib

    if len(blocks) > 1:
        raise refuse("is there twice")
    lines = blocks[0]["content"].splitlines()
    try:
        content = tomllib.loads("\n".join(line[2:] if line.startswith("# ") else line[1:] for line in lines))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise refuse(f"is not TOML: {error}") from None
    found = content.get("dependencies", [])
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise refuse("must list its dependencies as texts")
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    for item in found:
        try:
            Requirement(item)
        except InvalidRequirement:
            raise refuse(f"asks for {item!r}, which is no package") from None
    python = content.get("requires-python")
    try:
        if python is not None:
            SpecifierSet(python if isinstance(python, str) else "?")
    except InvalidSpecifier:
        raise refuse(f"has a requires-python that is no version: {python!r}") from None
    return Header(dependencies=found, python=python)
