"""Notebooks: as data, executed, and in Google Drive.

`document` reads notebooks and decides which cells run, `repair` mends what is invalid and clear, `parameters` are put
into them, `runs` executes them while we watch, `jobs` without us, `cell_outputs` puts the outputs in. `scripts`
converts, `templates` are what new notebooks begin with, `drive` is Google Drive. nbformat and jupytext are imported
here alone.
Who may use it: the commands `notebook …` and `run NOTEBOOK`, and the tools for agents.
Never here: how one cell is executed (`runs/`, `jupyter/`).
"""
