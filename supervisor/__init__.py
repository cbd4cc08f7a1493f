"""The programs of one machine, started together, kept running and stopped in order.

Nothing here knows what the programs do, and no server code is imported: they are child processes.
"""
