"""The programs of one machine, started together, kept running and stopped in order: `varde up`.

The programs are child processes: no server code is imported, and nothing here knows what they do.
"""
