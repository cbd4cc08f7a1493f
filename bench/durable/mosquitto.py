"""Mosquitto with QoS 1 and persistent sessions, set as durable as it can be, over TCP.

What that means beside Varde is in docs/decisions/2026-11-22-durable-peers.md: its PUBACK does not wait for the disk.
"""

import getpass
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.durable.load import DurableServer, Missing
from bench.durable.mqtt import MqttClient
from loadtest.client.websocket import ServerFault
from loadtest.stack.process import HOST, free_port, listens, tail_of, wait_for

START_DEADLINE: Final = 60.0
STOP_DEADLINE: Final = 20.0
CONFIG: Final = """\
user {user}
listener {port} {host}
allow_anonymous true
set_tcp_nodelay true
persistence true
persistence_location {folder}/
{saving}
max_inflight_messages 0
max_queued_messages 0
max_connections -1
log_dest stderr
log_type error
log_type warning
"""
SAVING: Final = {
    "each change": "autosave_on_changes true\nautosave_interval 1",
    "each second": "autosave_on_changes false\nautosave_interval 1",
}
"""How often the whole store is written to disk."""


@contextmanager
def open_mosquitto(folder: Path, clients: int, *, saving: str = "each change") -> Iterator[DurableServer]:
    """Run a broker in `folder`. Raises Missing and ServerFault."""
    program = find_program("mosquitto", "mosquitto")
    port, config, log = free_port(), folder / "mosquitto.conf", folder / "mosquitto.log"
    # As root it would become another user, who has no business in the folder.
    words = {"user": getpass.getuser(), "port": port, "host": HOST, "folder": folder, "saving": SAVING[saving]}
    config.write_text(CONFIG.format(**words))
    with log.open("ab") as errors:
        process = subprocess.Popen((program, "-c", str(config)), env={}, stderr=errors, stdin=subprocess.DEVNULL)  # noqa: S603 - a constant
    try:
        wait_for(lambda: process.poll() is not None or listens((HOST, port)), START_DEADLINE)
        if not listens((HOST, port)):
            raise ServerFault(f"mosquitto did not start:\n{tail_of(log)}")
        settings = {
            "transport": "TCP",
            "durability": f"store written at {saving}; PUBACK does not wait for it",
            "connections": str(clients),
        }
        yield DurableServer(port, MqttClient, {"mosquitto": process.pid}, settings)
    finally:
        process.terminate()
        try:
            process.wait(STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def find_program(name: str, package: str) -> str:
    """Return the path of a program of the system. Raises Missing."""
    # Where Debian puts servers, which is not on every user's path.
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        raise Missing(f"{name} is not installed: apt-get install {package}")
    return found
