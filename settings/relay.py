"""Settings of a relay node: its limits and times, and the reasons for their defaults."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Final

from settings.environment import (
    DATA,
    MIB,
    SECONDS,
    Address,
    ConfigError,
    read_address,
    read_bind,
    read_data,
    read_flag,
    read_number,
)
from settings.tls import TlsFiles, read_metrics_tls, read_relay_tls

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySettings:
    """One node. Times are seconds."""

    name: str = "relay"
    """What operators call the node. Each start adds something of its own, so several nodes may have one."""
    host: str = "127.0.0.1"
    port: int = 8401
    reuse_port: bool = False
    """Listen with SO_REUSEPORT, so that other nodes may listen there as well; `varde relay --workers` asks for it."""
    metrics_bind: tuple[str, int] | None = None
    """Where Prometheus may ask; None for nowhere. Whoever can connect there can read it."""
    metrics_tls: TlsFiles | None = None
    """For Prometheus alone, which then needs a certificate too; None: in plain text."""
    tls: TlsFiles | None = None
    """None: TLS ends in front of the node, or nowhere."""
    data: Path = Path(DATA)
    proxies: int = 0
    """Load balancers in front that each add the address they saw to X-Forwarded-For."""

    proxy_protocol: tuple[IPv4Network | IPv6Network, ...] = ()
    """Load balancers that pass connections through, and begin each with a PROXY header. Nobody else is believed."""

    # Admission: what strangers may cost.
    connections: int = 15_000
    """Established ones. Below the 20,000 files a process may open, with room for the database and for handshakes."""
    handshakes: int = 256
    """In flight. At 0.3 ms of crypto each, the last one in the queue waits a tenth of a second."""
    handshakes_per_address: int = 32
    """Of those, for one address: a silent peer holds its place until the deadline, so one address must not have all."""
    handshakes_per_second: float = 700.0
    """Half a core's worth, so that a herd leaves the other half to those who are there: ten thousand come in 15 s."""
    newcomers: int = 256
    """Let in, and not served yet. At the full pace each would have to wait a third of a second; it is a tenth of that
    on an idle machine. A node that serves a hundred a second lets the last of them wait 2.6 s of a client's fifteen."""
    newcomer_patience: float = 2 * SECONDS
    """For a newcomer to join. Clients do so within a round trip."""
    strangers: int = 2_048
    """Accepted and not authenticated yet. With the established ones below the files a process may open."""
    strangers_per_address: int = 256
    """Of those, for one address; beyond, a connection is closed as it comes."""
    connects_per_second: float = 50.0
    """For one address (IPv6: one /64), with bursts of ten seconds' worth: an office or a train behind one NAT."""
    handshake_deadline: float = 10 * SECONDS
    lateness: float = 1 * SECONDS
    """When the loop is this late, no more handshakes begin."""

    # What a device may do.
    frames_per_second: int = 1_000
    bytes_per_second: int = 4 * MIB
    burst: float = 2 * SECONDS
    ephemeral_per_second: float = 20.0
    """`typing` and `presence` together: nobody types faster, and each is told to many."""
    strikes: int = 100
    """Messages that may be refused as rate-limited before it is abuse; one is forgiven each second."""
    joined: int = 2_000
    syncs: int = 16
    """Answers to `sync` under way for one connection."""
    outbox_bytes: int = 1 * MIB

    # The journal and the log.
    shards: int = 1
    """Writers at a time. On two cores, eight made 1,000 messages a second cost twice the database's time, and p99 30 ms
    instead of 13: fewer share larger batches. More are for a database that has cores, and an fsync, to wait for."""
    queue_drafts: int = 8_192
    """Waiting in one shard; at 10,000 messages a second, all of them are a second's wait that nobody wants."""
    queue_bytes: int = 32 * MIB
    """Of ciphertext, waiting in one shard, however large the messages are."""
    batch_drafts: int = 256
    batch_bytes: int = 4 * MIB
    commit_deadline: float = 10 * SECONDS
    receipts_pause: float = 0.05 * SECONDS
    """How long receipts gather before they are stored; a person does not see it, the database does."""
    announce_pause: float = 0.005 * SECONDS
    """Until the next time on the bus: a query each, and what happens meanwhile shares the next one."""
    changes_pause: float = 1 * SECONDS
    """How long the members of a conversation hear nothing of further changes of its roster."""
    presence_pause: float = 1 * SECONDS
    """How long what a profile shows gathers before others are told: it may be told to thousands."""
    outage_patience: float = 15 * SECONDS
    """How long the database may be away before joins are refused instead of waiting."""

    # The heart and the end.
    rest: float = 0.002 * SECONDS
    """Between two passes of a busy node, for sockets to become ready, as a network card waits before it interrupts. On
    a quiet node there is none. Ten thousand messages a second then come twenty at a time."""
    heartbeat: float = 25 * SECONDS
    """Below the 30 s after which the most impatient of the usual load balancers cut a silent connection."""
    close_grace: float = 5 * SECONDS
    """For the close frame to be written and answered."""
    drain_deadline: float = 20 * SECONDS
    """For all clients to go. With the last commits a node has ended after 25 s; Kubernetes kills it after 30."""

    strict: bool = False
    """Let a surprise in one connection crash the node. For tests: in production it ends that connection alone."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "RelaySettings":
        """Read `VARDE_RELAY_BIND`, `VARDE_DATA`, and what else `--help` names.

        Raises:
            ConfigError: naming the variable.
        """
        default = cls()
        host, port = read_address(environ, "VARDE_RELAY_BIND", Address(default.host, default.port))
        drain = read_number(environ, "VARDE_RELAY_DRAIN_SECONDS", int(default.drain_deadline))
        return cls(
            name=_name(environ, default.name),
            host=host,
            port=port,
            reuse_port=read_flag(environ, "VARDE_RELAY_REUSE_PORT"),
            metrics_bind=read_bind(environ, "VARDE_RELAY_METRICS_BIND"),
            metrics_tls=read_metrics_tls(environ),
            tls=read_relay_tls(environ),
            data=read_data(environ),
            proxies=read_number(environ, "VARDE_RELAY_PROXIES", default.proxies),
            proxy_protocol=_networks(environ),
            connections=read_number(environ, "VARDE_RELAY_CONNECTIONS", default.connections, least=1),
            drain_deadline=float(drain),
        )


def _networks(environ: Mapping[str, str]) -> tuple[IPv4Network | IPv6Network, ...]:
    name = "VARDE_RELAY_PROXY_PROTOCOL"
    try:
        return tuple(ip_network(text) for text in environ.get(name, "").split())
    except ValueError:
        raise ConfigError(f"{name} must be addresses or networks such as 192.0.2.7 2001:db8::/32") from None


def _name(environ: Mapping[str, str], default: str) -> str:
    name = environ.get("VARDE_RELAY_NAME", default)
    if not _NAME.fullmatch(name):
        raise ConfigError("VARDE_RELAY_NAME must be 1 to 32 lower-case letters, digits and hyphens")
    return name
