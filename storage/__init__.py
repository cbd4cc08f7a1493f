"""Where everything is kept: Postgres, the bus between nodes, key files, and the asyncio island they need.

No decision is taken in this room: what may happen, and why not, is the domain's.
"""
