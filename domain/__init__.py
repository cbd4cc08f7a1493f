"""The rules: what may happen, and why not. One package for each capability.

A package holds its rules, `model.py` (frozen Structs), `ports.py` (the stores that it needs, as Protocols, which
`storage` fills) and `events.py` (what it tells the other nodes over the bus). Nothing here knows sockets, HTTP, SQL,
Noise or REST bodies, waits by itself, or keeps a cache of one process.
"""
