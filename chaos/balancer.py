"""HAProxy with the configuration of deploy/haproxy: as a program, its runtime API, and the certificate it shows."""

import csv
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import trio

from chaos.certificates import Authority, ecdsa_key, pem_of
from settings.environment import Address
from supervisor.programs import Program, log_line

SHIPPED: Final = Path(__file__).parents[1] / "deploy" / "haproxy"
PATIENCE: Final = 30.0
"""Seconds, for another process to do what it was told."""
POLL: Final = 0.05
"""Seconds between two looks at another process, which tells nobody."""
_SERVER_LINES: Final = re.compile(r"(    server relay-\d+ .*\n)+")


class RuntimeApi:
    """The runtime API of a running HAProxy."""

    def __init__(self, control: Path) -> None:
        self.control = control

    def say(self, command: str) -> str:
        """Give a command, and return the answer. Raises OSError when nobody listens."""
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(self.control))
            control.sendall(f"{command}\n".encode())
            answer = b""
            while received := control.recv(65_536):
                answer += received
        return answer.decode().strip()

    def sessions(self) -> dict[str, int]:
        """How many connections each relay has through the balancer."""
        return {row["svname"]: int(row["scur"]) for row in self._rows() if row["svname"].startswith("relay-")}

    def ready(self) -> set[str]:
        """The servers that get clients, of relay and API."""
        return {row["svname"] for row in self._rows() if row["status"] == "UP" and row["svname"] != "BACKEND"}

    async def wait_ready(self, *servers: str) -> None:
        """Return when just these get clients."""
        with trio.fail_after(PATIENCE):
            while not self.control.exists() or self.ready() != set(servers):  # noqa: ASYNC110 - see POLL
                await trio.sleep(POLL)

    async def reload(self, signal_master: Callable[[], None]) -> None:
        """Start a new worker, as `systemctl reload` does by a SIGUSR2 to the master, and return when it serves."""
        before = self._pid()
        signal_master()
        with trio.fail_after(PATIENCE):
            while self._pid() in {before, ""}:  # noqa: ASYNC110 - see POLL
                await trio.sleep(POLL)

    def _rows(self) -> list[dict[str, str]]:
        return list(csv.DictReader(self.say("show stat").removeprefix("# ").splitlines()))

    def _pid(self) -> str:
        try:
            return self.say("show info").split("Pid: ")[1].split()[0]
        except (OSError, IndexError):
            return ""  # between two workers


class Certificate:
    """What the balancer shows: certificate and key in one file, of an authority that the clients of a run trust."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "varde.pem"
        self.authority_file = folder / "authority.pem"
        self._authority = Authority()
        self.authority_file.write_bytes(self._authority.pem())
        self.renew()

    def renew(self) -> None:
        """Put a new one with a new key in its place, as renewing programs do: by renaming."""
        key = ecdsa_key()
        fresh = self.file.with_suffix(".new")
        fresh.touch(0o600)
        fresh.write_bytes(self._authority.certify(key) + pem_of(key))
        fresh.rename(self.file)

    def is_shown(self, port: int) -> bool:
        """Whether who connects to a port of this machine now is shown the newest one."""
        shown = ssl.get_server_certificate(("127.0.0.1", port))
        return ssl.PEM_cert_to_DER_cert(shown) == ssl.PEM_cert_to_DER_cert(self._leaf())

    def _leaf(self) -> str:
        pem, end = self.file.read_text(), "-----END CERTIFICATE-----"
        return pem[: pem.index(end) + len(end)]


def balancer_program(
    folder: Path, bind: Address, certificate: Path, *, nodes: Mapping[str, str], api: str, environ: Mapping[str, str]
) -> Program:
    """HAProxy in front of these nodes, addresses by name, and an API: with the shipped file, and a line for each."""
    lines = "".join(f'    server {name} "{address}"\n' for name, address in nodes.items())
    config = folder / "haproxy.cfg"
    config.write_text(_SERVER_LINES.sub(lines, (SHIPPED / "haproxy.cfg").read_text(encoding="utf-8")))
    told = {
        **environ,
        "VARDE_HAPROXY_SOCKET": str(control_socket(folder)),
        "VARDE_BALANCER_CONNECTIONS": "1000",
        "VARDE_BALANCER_BIND": str(bind),
        "VARDE_BALANCER_CERTIFICATE": str(certificate),
        "VARDE_API_1": api,
    }
    command = ("haproxy", "-W", "-f", str(config))
    return Program(name="balancer", command=command, environ=told, parse_ready=log_line("Loading success", str(bind)))


def control_socket(folder: Path) -> Path:
    """Where the runtime API is."""
    return folder / "haproxy.sock"
