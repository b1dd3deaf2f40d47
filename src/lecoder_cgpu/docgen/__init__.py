"""Reference pages, the manual page and the guide for agents, from a described command tree.

`describe` turns live objects into one document, the other modules format it; `reference.py` knows the files.
Who may use it: the commands `reference` and `skill`, and `reference.py`.
Never here: a command, an option or an error named by hand.
"""
