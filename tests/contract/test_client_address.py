"""Which addresses count as one peer, and whose word is taken for them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from varde_contract.client_address import client_address, network_of

HERE = "192.0.2.1"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("not an address", "", True),
    ],
)
def test_what_counts_as_one_address(one: str, other: str, same: bool) -> None:  # noqa: FBT001 - a table's column
    """One IPv6 client has a whole /64 of addresses; one IPv4 client has one."""
    assert (network_of(one) == network_of(other)) == same


@given(st.text(max_size=60))
def test_any_text_is_in_some_network(text: str) -> None:
    """A header that makes no sense raises nothing."""
    assert isinstance(network_of(text), str)


@pytest.mark.parametrize(
    ("forwarded", "proxies", "expected"),
    [
        ("203.0.113.9", 0, HERE),
        ("", 1, HERE),
        ("203.0.113.9", 1, "203.0.113.9"),
        ("10.9.9.9, 203.0.113.9", 1, "203.0.113.9"),
        ("10.9.9.9, 203.0.113.9, 10.0.0.1", 2, "203.0.113.9"),
        ("203.0.113.9", 2, HERE),
        ("203.0.113.9:4711", 1, "203.0.113.9"),
        ("[2001:db8::1]:4711", 1, "2001:db8::1"),
        ("[2001:db8::1]", 1, "2001:db8::1"),
        ("2001:db8::1", 1, "2001:db8::1"),
    ],
)
def test_only_our_own_load_balancers_are_believed(forwarded: str, proxies: int, expected: str) -> None:
    """What a client writes into X-Forwarded-For itself stands left of what our proxies saw, and is not looked at."""
    assert client_address(HERE, forwarded, proxies) == expected


def test_a_port_puts_nobody_into_the_bucket_of_what_cannot_be_read() -> None:
    """Two clients behind a balancer that appends ports are two networks, and neither is the one of garbage."""
    networks = {
        network_of(client_address(HERE, hop, 1)) for hop in ("203.0.113.9:1", "203.0.113.8:1", "[2001:db8::1]:1")
    }
    assert networks == {"203.0.113.9", "203.0.113.8", "2001:db8::"}
