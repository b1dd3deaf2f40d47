"""Tools for coding agents, and the Model Context Protocol over which they are called.

Who may use it: the command `mcp`.
Never here: what only agents could do. A tool is the library's call with another face.
"""
