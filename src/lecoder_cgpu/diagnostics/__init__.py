"""What works, what does not, and how this copy was installed.

Who may use it: the commands `doctor` and `upgrade`.
Never here: a repair that nobody asked for.
"""
