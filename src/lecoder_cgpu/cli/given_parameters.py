"""The parameters of a command line: typed, from files, as YAML; and names of files that hold them."""

from __future__ import annotations

from typing import Any

from .. import errors
from ..notebooks.parameters import value
from .inputs import file_content

INPUT_PATH, OUTPUT_PATH = "PAPERMILL_INPUT_PATH", "PAPERMILL_OUTPUT_PATH"


def collect(options: dict[str, Any]) -> dict[str, Any]:
    """The parameters that the options of `notebook run` give; what is typed wins over what is in YAML.

    Raises:
        errors.UsageError: a file cannot be used, or a value is missing. errors.NotFoundError: there is no such file.
    """
    found: dict[str, Any] = {}
    for text in options["parameters_base64"]:
        found |= _from_text(_decoded(text), "--parameters-base64")
    for name in options["parameters"]:
        found |= _from_text(_text(name), name)
    for text in options["parameters_yaml"]:
        found |= _from_text(text, "--parameters-yaml")
    for items, convert in ((options["parameter"], value), (options["raw_parameter"], str)):
        for item in items:
            name, separator, text = item.partition("=")
            if not separator:
                raise errors.UsageError(f"parameter {item!r} has no value", hint=f"-p {item}=VALUE")
            found[name] = convert(text)
    return found


def formatted(name: str, parameters: dict[str, Any]) -> str:
    """A name of a file with `{NAME}` replaced by that parameter.

    Raises:
        errors.UsageError: (`UnknownParameter`) there is no such parameter.
    """
    if "{" not in name and "}" not in name:
        return name
    try:
        return name.format(**parameters)
    except (LookupError, ValueError, AttributeError, TypeError) as error:
        known = ", ".join(parameters) or "none"
        raise errors.UsageError(
            f"{name!r} names a parameter that was not given: {error} (given: {known})",
            name="UnknownParameter",
            hint="give it with -p NAME=VALUE; a brace of its own is written twice: {{",
        ) from error


def _text(name: str) -> str:
    try:
        return file_content(name).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise errors.UsageError(f"{name} is not text in UTF-8", name="NotText", hint="save it as UTF-8") from None


def _decoded(text: str) -> str:
    import base64

    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError as error:
        raise errors.UsageError(
            f"--parameters-base64: this is not YAML in base64: {error}",
            name="BadParameters",
            hint="give the YAML itself with --parameters-yaml, or a file with --parameters",
        ) from None


def _from_text(text: str, origin: str) -> dict[str, Any]:
    """Parameters in YAML, or in JSON, which needs no further library."""
    import json

    try:
        content = json.loads(text)
    except ValueError:
        content = _from_yaml(text, origin)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise errors.UsageError(
            f"{origin} must hold names and values", name="BadParameters", hint="one `name: value` a line"
        )
    return {str(key): item for key, item in content.items()}


def _from_yaml(text: str, origin: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise errors.MissingExtra(
            f"reading {origin} needs a YAML library",
            hint="pip install 'lecoder-cgpu[notebooks]', or give the parameters in JSON",
        ) from None

    class Loader(yaml.SafeLoader):
        """Leaves dates and times as they are written: a parameter is text unless it is a number or a constant."""

        yaml_implicit_resolvers = {  # noqa: RUF012 - of the library
            first: [(tag, pattern) for tag, pattern in pairs if tag != "tag:yaml.org,2002:timestamp"]
            for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    try:
        return yaml.load(text, Loader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise errors.UsageError(
            f"{origin} is neither YAML nor JSON: {reason}", name="BadParameters", hint="one `name: value` a line"
        ) from error
