"""This machine: files written safely, locks, logs, secrets taken out of text, processes told apart.

Who may use it: every package below `guest` in the list of tests/unit/test_layers.py.
Never here: what a file means. Each state file has one owner elsewhere, which says what its fields are.
"""
