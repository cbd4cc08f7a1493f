"""Families of commands that list when they are called alone: `varde devices` is `varde devices list`.

Nothing is listed here.
"""

from typing import Final

import click

LIST: Final = "list"


class ListByDefault(click.Group):
    """A group whose command `list` runs, with its options, when no other command is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `list` in front where no command is named and nobody asks for help."""
        named = set(args) & {*self.commands, *ctx.help_option_names}
        return super().parse_args(ctx, args if named else [LIST, *args])
