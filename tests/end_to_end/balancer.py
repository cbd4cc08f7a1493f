"""HAProxy with the configuration of deploy/haproxy in front of relay nodes and API, and its runtime API."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from tests.certificates import Authority, ecdsa_key, pem_of
from tests.end_to_end.stack import ROOT, SECONDS, Program, Stack
from tests.system import require

CONFIG = ROOT / "deploy/haproxy/haproxy.cfg"
PASSTHROUGH = ROOT / "deploy/haproxy/passthrough.cfg"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@dataclass
class Balancer:
    """A running HAProxy. `nodes` are the relays behind it, by the names of its servers."""

    process: "subprocess.Popen[bytes]"
    control: Path
    port: int
    stack: Stack
    nodes: dict[str, Program]

    def say(self, command: str) -> str:
        """Give a command to the runtime API, and return the answer."""
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(self.control))
            control.sendall(f"{command}\n".encode())
            answer = b""
            while received := control.recv(65_536):
                answer += received
        return answer.decode().strip()

    def sessions(self) -> dict[str, int]:
        """How many connections each relay has through the balancer."""
        rows = (line.split(",") for line in self.say("show stat").splitlines())
        return {row[1]: int(row[4]) for row in rows if row[0] == "relay" and row[1].startswith("relay-")}

    def ready(self) -> set[str]:
        """The servers that get clients, of relay and API."""
        rows = (line.split(",") for line in self.say("show stat").splitlines())
        return {row[1] for row in rows if len(row) > 17 and row[17] == "UP" and row[1] not in {"FRONTEND", "BACKEND"}}

    async def wait_ready(self, *servers: str) -> None:
        """Return when just these get clients."""
        with trio.fail_after(SECONDS):
            while not self.control.exists() or self.ready() != set(servers):  # noqa: ASYNC110 - another process's checks
                await trio.sleep(0.05)  # between two looks at another process

    async def reload(self) -> None:
        """Start a new worker, as `systemctl reload` does, and return when it serves."""
        before = self.say("show info").split("Pid: ")[1].split()[0]
        self.process.send_signal(signal.SIGUSR2)
        while True:
            await trio.sleep(0.05)  # between two looks at another process
            try:
                if self.say("show info").split("Pid: ")[1].split()[0] != before:
                    return
            except OSError:
                continue


def addresses(nodes: Sequence[Program]) -> list[str]:
    """Where relay nodes listen."""
    return [re.sub(r"^wss?://|/.*", "", node.address) for node in nodes]


@contextmanager
def open_balancer(stack: Stack, folder: Path, *, config: str, tls: bool = False, **environ: str) -> Iterator[Balancer]:
    """Start two relay nodes and a balancer, and have the API name the balancer. `tls`: it ends in the nodes."""
    haproxy = str(require("haproxy", "haproxy"))
    authority, key = Authority(), ecdsa_key()
    chain, private = authority.certify(key), pem_of(key)
    (folder / "authority.pem").write_bytes(authority.pem())
    (folder / "chain.pem").write_bytes(chain)
    (folder / "key.pem").touch(0o600)
    (folder / "key.pem").write_bytes(private)
    (folder / "both.pem").write_bytes(chain + private)
    (folder / "haproxy.cfg").write_text(config)
    more = {"VARDE_RELAY_PROXIES": "1", **environ}
    if tls:
        more |= {
            "VARDE_RELAY_TLS_CERTIFICATE": str(folder / "chain.pem"),
            "VARDE_RELAY_TLS_KEY": str(folder / "key.pem"),
            "VARDE_RELAY_PROXY_PROTOCOL": "127.0.0.0/8",
            "VARDE_RELAY_PROXIES": "0",
        }
    port = free_port()
    with ExitStack() as ends:
        nodes = {name: stack.open_relay(name, **more) for name in ("relay-1", "relay-2")}
        for node in nodes.values():
            ends.callback(node.stop)
            node.change(VARDE_RELAY_BIND=re.sub(r"^wss?://|/.*", "", node.start()))  # when it comes back
        first, second = addresses(list(nodes.values()))
        control = folder / "haproxy.sock"
        told = os.environ | {
            "VARDE_HAPROXY_SOCKET": str(control),
            "VARDE_BALANCER_CONNECTIONS": "1000",
            "VARDE_BALANCER_BIND": f"127.0.0.1:{port}",
            "VARDE_BALANCER_CERTIFICATE": str(folder / "both.pem"),
            "VARDE_RELAY_AUTHORITY": str(folder / "authority.pem"),
            "VARDE_RELAY_1": first,
            "VARDE_RELAY_2": second,
            "VARDE_API_1": stack.api_url.removeprefix("http://"),
        }
        command = (haproxy, "-f", str(folder / "haproxy.cfg"))
        subprocess.run((*command, "-c"), env=told, check=True, capture_output=True)
        process = subprocess.Popen((*command, "-W", "-S", str(folder / "master.sock")), env=told)
        ends.callback(process.wait, SECONDS)
        ends.callback(process.terminate)
        ends.callback(stack.restart_api, stack.relay.address, proxies=0)
        stack.restart_api(f"wss://127.0.0.1:{port}/v1/relay", proxies=1)
        yield Balancer(process, control, port, stack, nodes)
