"""Where clients are sent to: the relay's URL, with the host that they reached the API by where that says so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.resources.people.devices import reached_by
from varde_contract.refusals import Refused
from varde_contract.rest.people import RelayAddress

KEYS = bytes(32), bytes(1_184)
EVERYWHERE = RelayAddress("ws://*:8401/v1/relay", *KEYS)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("192.168.1.20:8400", "ws://192.168.1.20:8401/v1/relay"),
        ("nas.local", "ws://nas.local:8401/v1/relay"),
        ("NAS.local:80", "ws://nas.local:8401/v1/relay"),
        ("[fd00::1]:8400", "ws://[fd00::1]:8401/v1/relay"),
    ],
)
def test_a_client_is_sent_where_it_came(host: str, url: str) -> None:
    """By name, or by address."""
    sent = reached_by(EVERYWHERE, host)
    assert isinstance(sent, RelayAddress)
    assert (sent.url, sent.static_key) == (url, KEYS[0])


def test_a_url_that_is_set_stays() -> None:
    """Whatever the client has asked for."""
    set_by_hand = RelayAddress("wss://relay.example.org/v1/relay", *KEYS)
    assert reached_by(set_by_hand, "evil.example") is set_by_hand


@given(st.text(max_size=40))
def test_no_host_reaches_beyond_its_place(host: str) -> None:
    """What is no host is refused; what is one changes neither scheme nor path."""
    sent = reached_by(EVERYWHERE, host)
    if not isinstance(sent, Refused):
        assert isinstance(sent, RelayAddress)
        name = sent.url.removeprefix("ws://").removesuffix(":8401/v1/relay")
        assert not set(name) & set("/?#@\\ \r\n%")
