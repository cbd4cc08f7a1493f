"""What a run of the benchmark was asked for."""

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct


class Options(Struct, frozen=True, kw_only=True):
    """One run. `servers` empty means every server there is; `say` takes one line about what is done now."""

    output: Path = Path("build")
    quick: bool = False
    tls: bool = True
    rounds: int = 3
    servers: tuple[str, ...] = ()
    say: Callable[[str], None] = print

    def wants(self, server: str) -> bool:
        """Whether this server is to be measured."""
        return not self.servers or server in self.servers
