"""`varde demo`: a story against real processes that prints each promise as it is kept, one file for each chapter.

It uses the public SDK, the supervisor and the wire contract; no server code is imported.
"""
