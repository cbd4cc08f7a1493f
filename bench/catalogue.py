"""Every server there is to measure: its name, its program, and what is missing when it cannot be run here."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from msgspec import Struct

from loadtest.stack.process import ROOT

_NODE_FOLDER: Final = ROOT / "bench/servers/node"
_INSTALL_SECONDS: Final = 120

VARDE: Final = "varde"
NODE: Final = "node-ws"


class Missing(Exception):
    """A server cannot be run here; the text says what to install."""


class Entry(Struct, frozen=True):
    """A server. `encrypted`: whether it has crypto, and may be asked for TLS as well."""

    name: str
    title: str
    encrypted: bool = True


CATALOGUE: Final = {
    entry.name: entry
    for entry in (
        Entry(VARDE, "Varde"),
        Entry("picows", "picows on uvloop"),
        Entry("websockets", "websockets on asyncio + uvloop"),
        Entry("starlette", "Starlette on uvicorn"),
        Entry("websockets-trio", "websockets' Trio server"),
        Entry("trio-websocket", "trio-websocket"),
        Entry(NODE, "Node, ws"),
        Entry("epoll-floor", "epoll floor (no crypto)", encrypted=False),
    )
}
DURABLE_PEERS: Final = ("mosquitto", "mosquitto_each_second")
"""Servers that are measured only in the durable dimension. Twice, by how often Mosquitto writes its store."""


def title_of(name: str) -> str:
    """Return the name of a server as a reader knows it."""
    return CATALOGUE[name].title if name in CATALOGUE else name.replace("_", ", ")


def command_of(entry: Entry, folder: Path) -> list[str]:
    """Return how to start a server. `folder` is where `install` put what it needs."""
    if entry.name == NODE:
        return ["node", str(folder / "node/server.mjs")]
    program = ("bench.servers.varde_node",) if entry.name == VARDE else ("bench.servers.peers", "--peer", entry.name)
    return [sys.executable, "-m", *program]


def install(entry: Entry, folder: Path) -> None:
    """Have all there that a server needs. Raises Missing.

    The libraries of Python come with the locked requirements. Those of Node are installed into `folder` the first time.
    """
    if entry.name != NODE:
        return
    if not shutil.which("node") or not shutil.which("npm"):
        raise Missing("there is no `node` or no `npm`: install Node.js 18 (on Debian: apt-get install nodejs npm)")
    folder /= "node"
    shutil.copytree(_NODE_FOLDER, folder, dirs_exist_ok=True)
    lock, installed = (_NODE_FOLDER / "package-lock.json").read_bytes(), folder / "installed-lock.json"
    if installed.exists() and installed.read_bytes() == lock:
        return
    command = ("npm", "ci", "--no-audit", "--no-fund", "--loglevel=error")
    try:
        subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=True)  # noqa: S603 - constant
    except (OSError, subprocess.TimeoutExpired):
        raise Missing("`npm ci` did not end: is a package registry within reach?") from None
    except subprocess.CalledProcessError as failure:
        raise Missing(f"`npm ci` failed: {failure.stderr.strip()[-200:] or 'it did not say why'}") from None
    installed.write_bytes(lock)
