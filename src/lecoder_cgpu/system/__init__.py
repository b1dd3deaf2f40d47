"""This machine: safe files, locks, logs, secrets removed from text, and process identities.

`atomic_files` writes whole files and locks them, `jsonl` appends to and reads long files of JSON lines, `logs` is the
debug log, `redaction` removes secrets (`password_flags` knows how programs are
told passwords), `process_identity` tells a process from a later one with the same id, `periodic`
does something at an interval, `waits` knows what is waited for, `interrupts` keeps signals back for a moment, `faults`
tells what this machine refuses from a bug of ours, `quick_imports` leaves out what costs most of a large library,
`images` opens pictures from outside.
Who may use it: every package below it in the list of tests/unit/test_layers.py.
Never here: what a file means. Each state file has one owner elsewhere, which defines its fields.
"""
