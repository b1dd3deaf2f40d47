"""Tools for coding agents, and the Model Context Protocol server that offers them.

`tools` is the list of tools, `session_tools`, `work_tools` and `file_tools` do what they say, `arguments` is what they
take. `desk` is one call and what the server remembers, `order` lets calls begin one after the other, `answers` makes of
a document what an agent reads, `places` says which files of this machine tools may touch, and `mcp` serves them, by
`stdio` or over HTTP by `http`. `clients` is what clients have to be told of the server.
`skill_places` puts the page for agents where they look for it.
Who may use it: the commands `mcp` and `skill`.
Never here: something that only agents can do. A tool calls the library as any program would.
"""
