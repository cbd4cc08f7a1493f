"""`varde demo`: the acceptance story, told against real processes; each promise is printed as it is kept.

It uses the public SDK, the supervisor and the wire contract. No server code is imported.
"""
