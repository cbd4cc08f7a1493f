"""The language of Varde on the wire, sans-I/O: what client and servers must agree on, byte for byte.

Nothing here waits, has a clock, or opens a socket, and no policy is decided here. The room imports no other.
"""
