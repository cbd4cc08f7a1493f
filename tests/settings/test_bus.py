"""What `VARDE_BUS_URL` may say."""

from pathlib import Path

import pytest

from settings.bus import BUS_URL, DatabaseBus, ValkeyServers, ValkeyTls, read_bus
from settings.environment import Address, ConfigError

CANARY = "c4nary"


def test_without_it_the_bus_is_the_database() -> None:
    """Unset or empty, no further server is needed."""
    assert read_bus({}) == read_bus({BUS_URL: ""}) == DatabaseBus()


@pytest.mark.parametrize(
    ("url", "servers"),
    [
        ("redis://valkey", ValkeyServers(addresses=(Address("valkey", 6379),))),
        ("redis://[::1]", ValkeyServers(addresses=(Address("::1", 6379),))),
        ("redis://[::1]:7000/", ValkeyServers(addresses=(Address("::1", 7000),))),
        (
            "redis://bus:p%40ss:w%2Frd@valkey:7000",
            ValkeyServers(addresses=(Address("valkey", 7000),), user="bus", password="p@ss:w/rd"),
        ),
        ("redis://:secret@valkey", ValkeyServers(addresses=(Address("valkey", 6379),), password="secret")),
        ("rediss://valkey", ValkeyServers(addresses=(Address("valkey", 6379),), tls=ValkeyTls())),
        (
            "rediss+cluster://one,two:7001?ca=/ca.pem&certificate=/c.pem&key=/k.pem",
            ValkeyServers(
                addresses=(Address("one", 6379), Address("two", 7001)),
                cluster=True,
                tls=ValkeyTls(ca=Path("/ca.pem"), certificate=Path("/c.pem"), key=Path("/k.pem")),
            ),
        ),
        ("redis+cluster://one", ValkeyServers(addresses=(Address("one", 6379),), cluster=True)),
    ],
)
def test_servers_are_read(url: str, servers: ValkeyServers) -> None:
    """One server or some nodes of a cluster, with or without TLS, with or without a password."""
    assert read_bus({BUS_URL: url}) == servers


@pytest.mark.parametrize(
    "url",
    [
        f"nats://{CANARY}",
        f"redis://:{CANARY}@one,two",
        f"redis://:{CANARY}@",
        f"redis://:{CANARY}@one:port",
        f"redis://:{CANARY}@one/0",
        f"redis://one?ca={CANARY}",
        f"rediss://one?certificate={CANARY}",
        f"rediss://one?{CANARY}=1",
        f"redis://one#{CANARY}",
    ],
)
def test_a_mistake_names_the_variable_and_not_the_value(url: str) -> None:
    """A URL that cannot be followed is refused by name: what it says may be a password."""
    with pytest.raises(ConfigError, match=BUS_URL) as caught:
        read_bus({BUS_URL: url})
    assert CANARY not in str(caught.value)


def test_a_password_is_not_shown() -> None:
    """What holds a password does not print it."""
    assert CANARY not in repr(read_bus({BUS_URL: f"redis://user:{CANARY}@valkey"}))
