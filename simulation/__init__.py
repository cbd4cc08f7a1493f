"""The relay, the SDK, the API and the domain in one process: virtual time, a seeded scheduler, and everything fails.

Here live the doubles of what is around the product (`stores`, `network`, `database`, `bus`), the faults, and the
observers who say what was violated. `python -m simulation` runs seeds; docs/simulation.md says how to read one that
fails. What never lives here: rules of the product, real sockets, threads and real time.
"""
