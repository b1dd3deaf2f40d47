"""Files of the runtime: uploads, downloads and syncs.

`commands` has what users ask for, `plan` decides what moves where, `transfer` moves it, and `contents_service` is the
slower way for servers where the helper cannot run.
Who may use it: the command line, the library, and runs that take files along.
Never here: the requests' form on the wire (`helper/file_service.py`), or what the runtime does (`guest/files.py`).
"""
