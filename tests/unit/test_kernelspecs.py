"""Which kernel is meant: names, languages, defaults; and parameters in each language's own syntax."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pytest

from lecoder_cgpu import errors
from lecoder_cgpu.jupyter.kernelspecs import KernelSpecs, Listing, language_of
from lecoder_cgpu.notebooks import syntax
from lecoder_cgpu.runs import languages


def listing(default: str = "python3", **specs: str) -> KernelSpecs:
    """A server's listing with kernels of these names and languages."""
    rows = {
        name.replace("_", "-"): {
            "spec": {"language": language, "argv": ["ipykernel_launcher" if "py" in name else "x"]}
        }
        for name, language in specs.items()
    }
    return KernelSpecs.of(Listing(default=default, kernelspecs=rows))


def test_what_a_listing_says() -> None:
    """Names are found whatever their case; odd rows are passed over."""
    specs = listing(ir="R", python3="python")
    found = specs.find("IR")
    assert found is not None
    assert (found.name, found.language, specs.usual().name) == ("ir", "r", "python3")
    with pytest.raises(errors.UsageError, match=r"has no kernel 'x'; it has ir \(r\), python3 \(python\)"):
        specs.named("x")
    odd = KernelSpecs.of(Listing(kernelspecs={"a": 1, "b": {"spec": []}}, default=3))
    assert ([spec.name for spec in odd.specs], odd.default) == (["b"], "python3")


def test_the_usual_kernel() -> None:
    """The server's default; else Python; else the only one; else nobody can tell."""
    assert listing("ir", ir="R", python3="python").usual().name == "ir"
    assert listing("gone", ir="R", my_py="python").usual().name == "my-py"
    assert listing("python3", ir="R").usual().name == "ir"
    with pytest.raises(errors.UsageError, match="default kernel 'python3' is not there"):
        listing("python3", ir="R", bash="bash").usual()


def test_the_python_of_our_programs() -> None:
    """ipykernel under its usual name, if it is there."""
    assert listing("ir", ir="R").python() is None
    found = listing("xeus", xeus="python", a_py="python", python3="python").python()
    assert found is not None
    assert found.name == "python3"
    found = listing("xeus", xeus="python", a_py="python").python()
    assert found is not None
    assert found.name == "a-py"


@pytest.mark.parametrize(
    ("language", "kernel", "expected"),
    [("R", "", "r"), (None, "ir", "r"), (None, "julia-1.11", "julia"), (None, "python3", "python"), (None, "my", ""),
     ("ipython", "", "python"), (7, "deno", "typescript"), ("Bash", "", "bash")],
)  # fmt: skip
def test_languages(language: Any, kernel: str, expected: str) -> None:
    """One spelling for each; a missing one is known by the kernel's usual name."""
    assert language_of(language, kernel) == expected


VALUES: dict[str, Any] = {
    "n": 1,
    "x": -1.5,
    "t": "a\"b'c\\d\n$é",
    "no": None,
    "yes": True,
    "l": [1, "a"],
    "d": {"k": 2},
}


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("r", 'n = 1\nx = -1.5\nt = "a\\"b\'c\\\\d\\n$é"\nno = NULL\nyes = TRUE\nl = list(1, "a")\nd = list("k" = 2)'),
        ("julia", 'n = 1\nx = -1.5\nt = "a\\"b\'c\\\\d\\n\\$é"\nno = nothing\nyes = true\nl = Any[1, "a"]\n'
                  'd = Dict{String, Any}("k" => 2)'),
        ("typescript", 'let n = 1;\nlet x = -1.5;\nlet t = "a\\"b\'c\\\\d\\n$\\u00e9";\nlet no = null;\n'
                       'let yes = true;\nlet l = [1, "a"];\nlet d = {["k"]: 2};'),
    ],
)  # fmt: skip
def test_parameters_in_other_languages(language: str, expected: str) -> None:
    """Every kind of value, with what has a meaning within quotes escaped."""
    comment = "// " if language == "typescript" else "# "
    assert syntax.source(VALUES, language) == f"{comment}Parameters\n{expected}"


def test_parameters_in_bash() -> None:
    """bash itself reads them back."""
    code = syntax.source(VALUES, "bash") + '\nprintf "%s|" "$n" "$x" "$t" "$no" "$yes" "${l[1]}" "$d"'
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here")
    read = subprocess.run([bash, "-c", code], capture_output=True, check=True).stdout.decode()
    assert read == "1|-1.5|a\"b'c\\d\n$é||true|a|" + '{"k": 2}|'


def test_what_a_language_cannot_hold() -> None:
    """It is refused, and not changed."""
    for language, value in (("r", 2**60), ("r", "a\0b"), ("bash", "a\0b"), ("julia", "\ud800")):
        with pytest.raises(errors.UsageError, match="parameter 'a'"):
            syntax.source({"a": value}, language)
    for language, name in (("r", "if"), ("julia", "end"), ("bash", "a.b"), ("typescript", "let"), ("python", "class")):
        with pytest.raises(errors.UsageError, match="no name of a variable"):
            syntax.source({name: 1}, language)
    assert syntax.source({"a.b": 1}, "r").endswith("a.b = 1")
    assert "9007199254740993n" in syntax.source({"a": 2**53 + 1}, "javascript")
    assert "const a = 1;" in syntax.source({"a": 1}, "typescript", "const a = 5")
    with pytest.raises(errors.UsageError, match="cannot be written in cobol"):
        syntax.source({"a": 1}, "cobol")


@pytest.mark.parametrize(
    ("language", "name", "message", "failure"),
    [
        ("r", "ERROR", "Error in library(x): there is no package called ‘x’", errors.ImportFailure),
        ("r", "ERROR", "Error in parse(text = x): <text>:2:0: unexpected end of input", errors.SyntaxFailure),
        ("r", "ERROR", "Error: cannot allocate vector of size 74.5 Gb", errors.MemoryFailure),
        ("julia", "ArgumentError", "Package CUDA not found in current path.", errors.ImportFailure),
        ("julia", "OutOfMemoryError", "", errors.MemoryFailure),
        ("typescript", "SyntaxError", "Unexpected end of input", errors.SyntaxFailure),
        ("typescript", "NotFound", "No such file or directory (os error 2)", errors.FileFailure),
        ("scheme", "Exception", "boom", errors.RuntimeFailure),
    ],
)
def test_what_failures_mean(language: str, name: str, message: str, failure: type[errors.Error]) -> None:
    """Names and messages decide where there is no hierarchy of classes."""
    found, advice = languages.meaning(language, name, message)
    assert found is failure
    assert advice
