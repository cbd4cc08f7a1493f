"""HAProxy with the configuration of deploy/haproxy in front of relay nodes and API."""

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from chaos.balancer import SHIPPED, RuntimeApi
from chaos.certificates import Authority, ecdsa_key, pem_of
from supervisor.ports import free_port
from tests.end_to_end.stack import SECONDS, Program, Stack
from tests.system import require

CONFIG = SHIPPED / "haproxy.cfg"
PASSTHROUGH = SHIPPED / "passthrough.cfg"


class Balancer(RuntimeApi):
    """A running HAProxy. `nodes` are the relays behind it, by the names of its servers."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", control: Path, port: int, stack: Stack, nodes: dict[str, Program]
    ) -> None:
        super().__init__(control)
        self.process = process
        self.port = port
        self.stack = stack
        self.nodes = nodes


def addresses(nodes: Sequence[Program]) -> list[str]:
    """Where relay nodes listen."""
    return [re.sub(r"^wss?://|/.*", "", node.address) for node in nodes]


@contextmanager
def open_balancer(
    stack: Stack, folder: Path, *, config: str, tls: bool = False, guarded: bool = False, **environ: str
) -> Iterator[Balancer]:
    """Start two relay nodes and a balancer, and have the API name the balancer.

    `tls`: it ends in the nodes. `guarded`: the balancer shows a certificate to the nodes, which let in nobody else.
    """
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
    if tls or guarded:
        more |= {
            "VARDE_RELAY_TLS_CERTIFICATE": str(folder / "chain.pem"),
            "VARDE_RELAY_TLS_KEY": str(folder / "key.pem"),
        }
    if tls:
        more |= {"VARDE_RELAY_PROXY_PROTOCOL": "127.0.0.0/8", "VARDE_RELAY_PROXIES": "0"}
    if guarded:
        more["VARDE_RELAY_TLS_CLIENT_CA"] = str(folder / "authority.pem")
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
