"""The commands of `python -m loadtest`.

No file here imports locust, or what is slow, at its top: whoever imports Locust has a patched process, and `--help` is
quick. A command returns an exit code (`loadtest.exits.EXIT_CODES`; None is 0), and raises
`loadtest.exits.CouldNotRun(what, advice)` for what its caller can understand: exit code 3, as for bad options.
"""
