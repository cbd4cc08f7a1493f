"""Real processes that are killed, stopped and cut off while people talk, and an account of every message they sent.

How to run it and read it: docs/chaos.md. What no real process can show in a minute is simulated: `simulation/`.
"""
