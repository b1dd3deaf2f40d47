"""Notebooks: as data, executed, and in Google Drive.

`document` reads notebooks and decides which cells run (`remote` reads them at addresses), `repair` mends what is
invalid and clear, `inspection` finds what parameters there are, and `parameters` are put in, in the `syntax` of the
language. `kernels` chooses what runs it, `runs` executes cells while we watch, `jobs` without us, `remembered` is what
the history keeps; `options` say how, `kernel_place` is where the code finds itself, `cell_outputs` puts the outputs in,
`file_form` is how a file holds them, `autosave` saves meanwhile, and `papermill_metadata` notes times.
`papermill_engine` is for papermill itself. `scripts` converts, `templates` are what new notebooks begin with, `drive`
is Google Drive. nbformat and jupytext are imported here alone.
Who may use it: the commands `notebook …` and `run NOTEBOOK`, and the tools for agents.
Never here: how one cell is executed (`runs/`, `jupyter/`).
"""
