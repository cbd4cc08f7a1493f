"""The program `python -m bench.durable.varde_node`: `python -m relay` as it is, over the storage as it is. No variable
of the environment raises them, because nobody should in production.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from relay import __main__ as program
from settings.relay import RelaySettings

CROWD: Final = 20_000
"""Connections that may come from one address, at once and in a second."""


class RaisedConfig(RelaySettings):
    """A relay that lets a whole benchmark come from one address."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> RelaySettings:
        """Read what every relay reads, and raise the limits. Handshakes in flight stay bounded: that is work."""
        config = RelaySettings.from_environ(environ)
        return replace(
            config,
            strangers=CROWD,
            strangers_per_address=CROWD,
            handshakes_per_address=config.handshakes,
            connects_per_second=float(CROWD),
        )


if __name__ == "__main__":
    vars(program)["RelaySettings"] = RaisedConfig  # the one thing in it that is to be another
    program.main()
