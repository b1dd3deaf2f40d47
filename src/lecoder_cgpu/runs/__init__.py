"""Code and commands: executed, watched, detached, recorded, and their failures classified.

`kernel_runs` is Python in a kernel (`kernel_children`: what it leaves), `process_runs` a command as a process
(`process_watch` follows it), `jobs` what runs without us (`job_names`: what they are called, `all_jobs`: those of all
sessions), `endings` waits for what was told to end, `job_output` what these wrote, `recording` what the runtime kept of
a run (`opened_recordings`: for one that is watched), `records` what the history says of it (`run_record`: of one that
is watched, `learning`: of those that were left alone), `classify` turns an exception into a code and advice,
`languages` knows the exceptions of other languages, `scripts` is about code of a file (`script_header`: what it needs),
`installs` installs packages, `remote_programs` starts programs of ours there, and `closing` gives a session back with
what runs there. `attempts` decides whether work is run again, `losses` what became of its runtime. For jobs,
`job_plans` is what is stored of that (`stored_work`: without secrets), `job_sources` the files that are kept for it,
`kept_jobs` what is kept of one when it starts, `kept_output` what it has printed, `pushed` what the runtime copies
itself, `job_steps` what is done, `job_views` what is shown, and `planned_jobs` asks for and ends such a job wherever it
is; `rehearsal` plays its loss. `auto_install` repeats a run that lacked a package, `plots` finds the numbers that one
has printed.
Who may use it: the command line, the library, notebooks and the tools for agents.
Never here: which cells a notebook has (`notebooks/`), or how a run is printed (`cli/`).
"""
