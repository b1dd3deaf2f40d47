"""Editing of cells with prompt_toolkit: several lines, highlighting, history, and what the kernel proposes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import has_focus, is_searching
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import History
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.lexers import PygmentsLexer
from prompt_toolkit.output import create_output
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.lexers.special import TextLexer
from pygments.util import ClassNotFound

from .. import config

if TYPE_CHECKING:
    from .output import Printer
    from .repl import Repl


class Prompt:
    """Reads cells at the terminal.

    Args:
        repl: answers questions about code.
        screen: whose terminal it is.
        earlier: cells for the arrow keys, the newest first.
        language: of what is typed, see `kernelspecs.language_of`.
    """

    def __init__(self, repl: Repl, screen: Printer, earlier: list[str], language: str) -> None:
        self._repl = repl
        self._session: PromptSession[str] = PromptSession(
            history=_Earlier(earlier),
            lexer=PygmentsLexer(_lexer(language)) if config.colour_allowed() else None,
            completer=_FromKernel(repl),
            complete_in_thread=True,
            complete_while_typing=False,
            auto_suggest=AutoSuggestFromHistory(),
            multiline=True,
            prompt_continuation=lambda width, number, wraps: "...: ".rjust(width),
            key_bindings=self._keys(),
            output=create_output(stdout=screen.stream),
        )

    def read(self, prompt: str) -> str | None:
        """A cell, None when the user leaves (Ctrl-D)."""
        try:
            return self._session.prompt(FormattedText([("ansigreen", prompt)]))
        except EOFError:
            return None

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("enter", filter=has_focus("DEFAULT_BUFFER") & ~is_searching)
        def _(event: KeyPressEvent) -> None:
            """Run the cell when it is complete, else go on with the next line."""
            buffer = event.current_buffer
            text = buffer.document.text
            at_end = not buffer.document.text_after_cursor.strip()
            indent = self._repl.incomplete(text) if at_end or "\n" not in text else ""
            if indent is None:
                buffer.validate_and_handle()
            else:
                buffer.insert_text("\n" + indent)

        @keys.add("escape", "enter", filter=has_focus("DEFAULT_BUFFER"))
        def _(event: KeyPressEvent) -> None:
            """A new line in any case."""
            event.current_buffer.insert_text("\n")

        return keys


def _lexer(language: str) -> type[Lexer]:
    """What colours that language; nothing does for one that is not known."""
    try:
        return type(get_lexer_by_name(language))
    except ClassNotFound:
        return TextLexer


class _FromKernel(Completer):
    """Asks the kernel what could come."""

    def __init__(self, repl: Repl) -> None:
        self._repl = repl

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        if not document.current_line_before_cursor.strip():
            yield Completion("    ")
            return
        proposed = self._repl.complete(document.text, document.cursor_position)
        if proposed is None:
            return
        for match in proposed.matches:
            # What only repeats the path to a name is not shown in the menu.
            shown = match.rpartition(".")[2] if "." in match.strip(".") else match
            yield Completion(match, start_position=proposed.cursor_start - document.cursor_position, display=shown)


class _Earlier(History):
    """Cells of this and earlier visits. They are kept by the tool's own history, without secrets, and nowhere else."""

    def __init__(self, earlier: list[str]) -> None:
        super().__init__()
        self._earlier = earlier

    def load_history_strings(self) -> Iterable[str]:
        return self._earlier

    def store_string(self, string: str) -> None:
        pass
