"""Where everything is kept: Postgres, the bus between nodes, key files, outgoing mail, and the asyncio island.

It fills the ports that the domain declares. No decision is taken here.
"""
