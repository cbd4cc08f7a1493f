"""The `varde` command line: one file per family of commands, all of them thin over the SDK and the supervisor.

No server code is imported; the servers are started as programs of their own.
"""
