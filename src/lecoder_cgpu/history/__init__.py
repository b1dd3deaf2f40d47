"""What was run: one entry a run, the images it showed, and the history as a web page.

Who may use it: whoever ran something adds to it; `logs` reads it.
Never here: the output of the tool itself (`system/logs.py`), or a request to a runtime.
"""
