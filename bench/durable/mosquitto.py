"""Mosquitto with QoS 1 and persistent sessions, set as durable as it can be.

What that means beside Varde is in the decision page on the durable peers: its PUBACK does not wait for the disk.
"""

import getpass
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.durable.dialect import Tally
from bench.durable.mqtt import MqttDialect
from bench.durable.pipe import TcpPipe, WebSocketPipe
from bench.durable.served import (
    HOST,
    START_DEADLINE,
    Served,
    find_program,
    free_port,
    listens,
    run_process,
    wait_until,
)
from loadtest.client import websocket

NAME: Final = "mosquitto"
_SUBPROTOCOL: Final = "mqtt"
_PATH: Final = "/mqtt"
_GLANCE: Final = 0.02

CONFIG: Final = """\
user {user}
listener {port} {host}
protocol {protocol}
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
def open_mosquitto(folder: Path, connections: int, *, saving: str = "each change") -> Iterator[Served]:
    """Run a broker in `folder`, over WebSocket when it can, else over TCP. Raises Missing and ServerFault."""
    program = find_program("mosquitto", "mosquitto")
    websockets = _speaks_websockets(program, folder)
    port = free_port()
    config = _write_config(folder, "websockets" if websockets else "mqtt", port, saving)
    log = folder / "mosquitto.log"
    with run_process((program, "-c", str(config)), environ={}, log=log) as process:
        wait_until(lambda: listens((HOST, port)), process, log)
        yield _served(port, process.pid, connections, saving, websockets=websockets)


def _speaks_websockets(program: str, folder: Path) -> bool:
    """Debian 12 builds Mosquitto without them: such a broker listens for a moment, and ends."""
    port, end = free_port(), time.monotonic() + START_DEADLINE
    config = _write_config(folder, "websockets", port, "each second")
    with run_process((program, "-c", str(config)), environ={}, log=folder / "trial.log") as process:
        while process.poll() is None and time.monotonic() < end:
            if _upgrades((HOST, port)):
                return True
            time.sleep(_GLANCE)
    return False


def _upgrades(address: tuple[str, int]) -> bool:
    """Whether a WebSocket is opened there."""
    request = websocket.upgrade_request(f"{address[0]}:{address[1]}", _PATH, _SUBPROTOCOL)
    try:
        with socket.create_connection(address, timeout=1) as sock:
            sock.sendall(request)
            return sock.recv(1_024).startswith(b"HTTP/1.1 101")
    except OSError:
        return False


def _write_config(folder: Path, protocol: str, port: int, saving: str) -> Path:
    config = folder / f"{protocol}.conf"
    user = getpass.getuser()  # as root it would become another user, who has no business in the folder
    text = CONFIG.format(user=user, port=port, host=HOST, protocol=protocol, folder=folder, saving=SAVING[saving])
    config.write_text(text)
    return config


def _served(port: int, pid: int, connections: int, saving: str, *, websockets: bool) -> Served:
    authority = f"{HOST}:{port}"

    def dial(number: int, tally: Tally) -> MqttDialect:
        pipe = WebSocketPipe(authority, _PATH, _SUBPROTOCOL, opcode=websocket.BINARY) if websockets else TcpPipe()
        return MqttDialect(number, pipe, tally)

    settings = {
        "transport": "WebSocket" if websockets else "TCP, because this build has no WebSocket listener",
        "durability": f"store written at {saving}; PUBACK does not wait for it",
        "connections": str(connections),
    }
    return Served(NAME, (HOST, port), dial, pid, {}, settings)
