"""Notebooks: as data, executed, and in Google Drive.

`document` reads notebooks and decides which cells run, `runs` executes them while we watch, `jobs` without us, and
`drive` stores them. nbformat and jupytext are imported here alone.
Who may use it: the commands `notebook …` and `run NOTEBOOK`, and the tools for agents.
Never here: how one cell is executed (`runs/`, `jupyter/`).
"""
