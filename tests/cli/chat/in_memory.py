"""A full-screen chat of a home in memory, as a program: `python -m tests.cli.chat.in_memory`.

Its process id, and every text that is sent, are written to standard error.
"""

import asyncio
import os
import sys
from typing import Any

from tests.cli.chat.memory_rpc import MemoryRpc
from varde_cli.chat.application import Screen
from varde_cli.chat.remote import Remote
from varde_cli.run import run_command


class Telling(MemoryRpc):
    """Tells what is sent."""

    async def call(self, method: str, params: dict[str, Any]) -> Any:
        """See `Rpc`."""
        if method == "send":
            sys.stderr.write(f"sent {params['text']!r}\n")
            sys.stderr.flush()
        return await super().call(method, params)


async def main() -> int:
    """Run it."""
    sys.stderr.write(f"{os.getpid()}\n")
    sys.stderr.flush()
    rpc = Telling()
    rpc.written("said before")
    return await Screen(Remote(rpc)).run("bob")


if __name__ == "__main__":
    sys.exit(run_command(lambda: asyncio.run(main()), os.environ))
