"""The `varde` command line: one file per family of commands, all of them thin over the SDK.

No server code is imported. The commands that run the server come from the distribution `varde-server`, through
the entry points `varde.commands`.
"""
