"""The benchmark behind `make bench`: the relay beside what one would use instead of it.

The load comes from this process; each server is a program of its own (`servers/`), which alone may import server code.
"""
