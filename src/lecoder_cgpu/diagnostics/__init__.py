"""What works, what does not, and how this copy was installed.

`doctor` checks, `installation` knows pip, pipx and uv, `field_check` looks how a rented runtime behaves.
Who may use it: the commands `doctor` and `upgrade`.
Never here: a repair that nobody asked for.
"""
