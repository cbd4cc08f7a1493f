"""One client of the relay's protocol for both load rooms: a sans-I/O core, and one epoll engine that drives it.

`websocket` is RFC 6455 as a client needs it, `protocol` is `varde.v2` on it, `epoll` moves the bytes. Nothing here
imports Trio, Locust or server code, or needs gevent. The benchmark calls `Engine.poll` in a loop of its own
(`bench/connections.py`); a worker of Locust lets gevent's loop wait for `Engine.file` (`users/population.py`).
"""
