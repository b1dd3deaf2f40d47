"""This machine: safe files, locks, logs, secrets removed from text, and process identities.

Who may use it: every package below it in the list of tests/unit/test_layers.py.
Never here: what a file means. Each state file has one owner elsewhere, which defines its fields.
"""
