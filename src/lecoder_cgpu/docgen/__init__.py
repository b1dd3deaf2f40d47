"""Reference pages, the manual page and the guide for agents, from a described command tree.

`describe` turns live objects into one document; `pages`, `man` and `guide` format it, `parts` takes one
command, error or setting of it, `error_names` lists the names of errors, and `result_types` and `async_types` write
types of the library for type checkers. `completions` is what shells
complete. `reference.py` knows which files are written.
Who may use it: the commands `reference` and `skill`, and `reference.py`.
Never here: a command, an option or an error named by hand.
"""
