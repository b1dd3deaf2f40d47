"""Files of the runtime: what moves, how, and by which way.

`commands` is what users ask for, `plan` decides, `transfer` moves, `contents_service` is the way without the helper.
Who may use it: the command line, the library, and runs that take files along.
Never here: the requests' form on the wire (`helper/file_service.py`), or what happens to them there (`guest/files.py`).
"""
