"""The home's JSON-RPC 2.0 interface: whoever owns the local store serves it, and every other command asks it.

`methods` has all that can be asked, with `links` and their `table`; `protocol` its lines, `server` the owner's side,
`forward` the other.
"""
