"""Renders reference material from live objects: the click tree, the error tree, the settings, the documents.

`describe` turns them into one document; `pages` and `man` write that document for people. `reference` knows which files
there are, writes them and checks that what is committed is true.
"""
