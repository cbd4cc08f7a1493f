"""What each server program is told by its environment: one frozen class per program, with its defaults and reasons.

`from_environ` of these classes is the only reader of server variables. It is pure: it takes one mapping and opens
nothing. The room knows only the contract.
"""
