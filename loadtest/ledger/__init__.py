"""The truth about a run: what should be sent when, what became of every message, and how long it took.

Refuses to send, to draw and to judge: users report here, the gate judges what is settled.
"""
