"""A command whose home has an owner is run by the owner: its words go there, and what it prints comes back."""

import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from varde_cli.rpc.paths import socket_path
from varde_cli.streams import taken_input

COMMAND: Final = "command"
OUTPUT: Final = "output"
_CHUNK: Final = 1 << 16
_CONNECTING_SECONDS: Final = 10.0


def forward(home: Path, words: Sequence[str]) -> int | None:
    """Let a home's owner run a command; return its exit code, or None where no owner listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.settimeout(_CONNECTING_SECONDS)
            with socket_path(home) as path:
                connection.connect(os.fspath(path))
        except OSError:
            return None
        connection.settimeout(None)  # `varde listen` takes as long as it takes; Ctrl-C ends it
        plain = bool(os.environ.get("NO_COLOR"))
        params = {
            "words": list(words),
            "input": taken_input(),
            "folder": str(Path.cwd()),
            "home": str(home.absolute()),
            "terminals": [each.isatty() and not plain for each in (sys.stdin, sys.stdout, sys.stderr)],
        }
        connection.sendall(
            msgspec.json.encode({"jsonrpc": "2.0", "method": COMMAND, "id": 1, "params": params}) + b"\n"
        )
        return _show(connection)


def _show(connection: socket.socket) -> int | None:
    rest = b""
    while chunk := connection.recv(_CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            said = msgspec.json.decode(line)
            if said.get("method") == OUTPUT:
                stream = sys.stderr if said["params"]["error"] else sys.stdout
                stream.write(said["params"]["text"])
                stream.flush()
            elif "result" in said:
                code: int = said["result"]
                return code
            else:
                return None
    return None
