"""The scripts that make shells ask us for what a word may become, and the places where shells look for them."""

from __future__ import annotations

import shlex
from pathlib import Path

NAMES = ("lecoder-cgpu", "cgpu")
MARK = "# completion of lecoder-cgpu"  # ends the line that we add to a file of the user's

_BASH = r"""_lecoder_cgpu() {
    local IFS=$'\n' word="${COMP_WORDS[COMP_CWORD]}"
    COMPREPLY=($("$1" __complete bash FOLDER "${COMP_WORDS[@]:1:COMP_CWORD}" 2> /dev/null))
    [[ ${#COMPREPLY[@]} = 1 && ${COMPREPLY[0]} = *= ]] && compopt -o nospace
}
complete -o default -o bashdefault -o nosort -F _lecoder_cgpu lecoder-cgpu cgpu
"""
_ZSH = r"""#compdef lecoder-cgpu cgpu
_lecoder_cgpu() {
    local -a found
    local line
    for line in "${(@f)$("$words[1]" __complete zsh FOLDER "${(@)words[2,CURRENT]}" 2> /dev/null)}"; do
        [[ -n $line ]] && found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    done
    if (( $#found )); then
        _describe -V 'lecoder-cgpu' found
    else
        _files
    fi
}
if [[ $funcstack[1] = _lecoder-cgpu ]]; then
    _lecoder_cgpu "$@"
else
    compdef _lecoder_cgpu lecoder-cgpu cgpu
fi
"""
_FISH = r"""function __lecoder_cgpu
    set -l words (commandline -opc)
    set -l found ($words[1] __complete fish FOLDER $words[2..] (commandline -ct) 2> /dev/null)
    if test -n "$found"
        string join \n $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c lecoder-cgpu -f -a '(__lecoder_cgpu)'
complete -c cgpu -f -a '(__lecoder_cgpu)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def script(shell: str, folder: Path) -> str:
    """The script for a shell.

    Args:
        folder: the configuration folder, which the shell's environment may move.
    """
    moved = f'"${{LECODER_CGPU_CONFIG_DIR:-{folder}}}"'
    if shell == "fish":
        moved = (
            f"(set -q LECODER_CGPU_CONFIG_DIR; and echo $LECODER_CGPU_CONFIG_DIR; or echo {shlex.quote(str(folder))})"
        )
    return SCRIPTS[shell].replace("FOLDER", moved)


def install(shell: str, home: Path, folder: Path) -> list[Path]:
    """Put the script where a shell finds it, and have it read there; returns the files that were changed.

    Raises:
        OSError: a file cannot be written.
    """
    text = script(shell, folder)
    if shell == "fish":
        changed = _fish(home)
        for path in changed:
            _write(path, text)
        return changed
    kept, start = _kept(folder, shell), _start_file(shell, home)
    _write(kept, text)
    line = f"[ -f {shlex.quote(str(kept))} ] && . {shlex.quote(str(kept))}  {MARK}"
    if shell == "zsh":
        line = f"autoload -Uz compinit && compinit -C; {line}"
    lines = start.read_text("utf-8", "surrogateescape").splitlines() if start.exists() else []
    _write(start, "\n".join([*(one for one in lines if not one.endswith(MARK)), line]) + "\n")
    return [kept, start]


def remove(shell: str, home: Path, folder: Path) -> list[Path]:
    """Undo `install`; returns the files that were deleted or changed.

    Raises:
        OSError: a file cannot be written.
    """
    changed = [path for path in (_fish(home) if shell == "fish" else [_kept(folder, shell)]) if path.exists()]
    for path in changed:
        path.unlink()
    start = _start_file(shell, home)
    if start is not None and start.exists():
        lines = start.read_text("utf-8", "surrogateescape").splitlines()
        rest = [line for line in lines if not line.endswith(MARK)]
        if rest != lines:
            _write(start, "".join(f"{line}\n" for line in rest))
            changed.append(start)
    return changed


def _fish(home: Path) -> list[Path]:
    return [home / ".config" / "fish" / "completions" / f"{name}.fish" for name in NAMES]


def _kept(folder: Path, shell: str) -> Path:
    return folder / "completion" / f"lecoder-cgpu.{shell}"


def _start_file(shell: str, home: Path) -> Path:
    return home / {"bash": ".bashrc", "zsh": ".zshrc", "fish": ".config/fish/config.fish"}[shell]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8", "surrogateescape")
