"""One module for each command, or for a group of commands; `cli/app.py` has the table."""
