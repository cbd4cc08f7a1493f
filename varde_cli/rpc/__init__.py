"""The home's JSON-RPC 2.0 interface: whoever owns the local store serves it, and every other command asks it.

`methods` is the table of what can be asked, `protocol` its lines, `server` the owner's side, `remote` the other.
"""
