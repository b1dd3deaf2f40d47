"""The command line: parsing and printing.

`app` is the table of commands, `commands/` has a module for each command with its options, `run_command` is what `run`
does, `live` shows a run while it goes on, `run_display` shows one that was started earlier, `own_runtime` gives a
command a runtime of its own, `start_page` is what the bare command prints, and `output` alone writes to the standard
streams, which `standard_streams` repairs where they are closed. `looks` draws tables and colours, `times` and `sizes`
say ages and sizes as people do. `top_view` makes the lines of `top`, `top_screen` draws them and reads keys, `plots`
draws curves.
Who may use it: `__main__`, and `reference.py`, which describes it.
Never here: work that the library could do as well.
"""
