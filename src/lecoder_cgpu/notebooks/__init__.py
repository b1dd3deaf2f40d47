"""Notebooks: as data, executed, and in Google Drive.

`document` decides which cells run, `runs` executes them watched, `jobs` detached. nbformat and jupytext are imported
here alone.
Who may use it: the commands `notebook …` and `run NOTEBOOK`, and the agents' tools.
Never here: how one execution goes (`runs/`, `jupyter/`).
"""
