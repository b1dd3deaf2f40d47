"""Files of the runtime: uploads, downloads and syncs.

`commands` has what users ask for; `sync`, `edit` and `results` are parts of it. `plan` decides what moves where,
`upload` and `download` move it, and `contents_service` is the slower way for servers where the helper cannot run.
Who may use it: the command line, the library, and runs that take files along.
Never here: the requests' form on the wire (`helper/file_channel.py`), or what the runtime does (`guest/files.py`).
"""
