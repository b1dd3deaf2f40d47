"""Tools for coding agents, and the Model Context Protocol server that offers them.

`tools` is the list of tools, `mcp` serves it, and `places` says which files of this machine they may touch.
`skill_places` puts the page for agents where they look for it.
Who may use it: the commands `mcp` and `skill`.
Never here: something that only agents can do. A tool calls the library as any program would.
"""
