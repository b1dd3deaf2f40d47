"""Files of the runtime: uploads, downloads and syncs.

`commands` has what users ask for; `sync`, `edit` and `results` (`--pull`) are parts of it, `documents` says what came
of it, and `watch` tells when something changes here. `plan` decides what moves where, `ignore` which names are left out
(also by git's own files: `git_excludes`, and because they hold secrets: `withheld`), `patterns` which are meant,
`upload` and `download` move it, `transfer` is what both share. `service` is the interface to a runtime's files:
`server_files` reads them from the server itself, and `contents_service` is the slower way where the helper cannot run.
`--pull … --every` is `pulling` (what a run declares) and `pull_plans` (the same of a job, for the keeper); `fetch`
fetches a generation, `moments` says when it is one moment, `generations` keeps it. `sending` does what work needs
before it and at its end, and `snapshot` copies a folder as it is sent, for later attempts.
Who may use it: the command line, the library, and runs that take files along.
Never here: the requests' form on the wire (`helper/file_channel.py`), or what the runtime does (`guest/files.py`).
"""
