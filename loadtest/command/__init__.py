"""The subcommands of `python -m loadtest`, one file each.

The seam: `loadtest/command/<name>.py` has one `click.Command` at its top level, `command`, and imports nothing at its
top that is slow or that imports locust (such imports stand in the function). Its name and one line about it are in
`loadtest.command.entry.COMMANDS`. It returns an exit code (`loadtest.report.result.EXIT_CODES`; None is 0), and raises
`loadtest.command.exits.CouldNotRun(what, advice)` for what its caller can understand: exit code 3, as for bad options.
"""
