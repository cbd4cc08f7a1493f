"""Addresses and free ports."""

import socket

import pytest

from settings.environment import Address, BadAddress
from supervisor.ports import later_port, reserve, reserve_shared


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8400", Address("127.0.0.1", 8400)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:65535", Address("::1", 65535)),
    ],
)
def test_addresses_are_read_and_written_alike(text: str, address: Address) -> None:
    """What is read is what is written again."""
    assert Address.parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize("text", ["", "8400", ":8400", "host:", "host:x", "host:65536", "host:-1", "host:²"])
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    """The refusal shows how an address is written."""
    with pytest.raises(BadAddress, match=r"for example 127\.0\.0\.1:8400"):
        Address.parse(text)


def test_a_program_that_listens_everywhere_is_reached_at_the_loopback() -> None:
    """Nobody can connect to 0.0.0.0, so nobody is told to."""
    assert str(Address("0.0.0.0", 80).reachable) == "127.0.0.1:80"  # noqa: S104 - nothing is bound
    assert str(Address("::", 80).reachable) == "[::1]:80"
    assert str(Address("10.0.0.1", 80).reachable) == "10.0.0.1:80"


def test_a_reserved_port_can_be_listened_on_by_a_program() -> None:
    """The reservation keeps strangers off and lets the program in."""
    with reserve(Address("127.0.0.1", 0)) as chosen:
        assert chosen.port > 0
        with socket.create_server((chosen.host, chosen.port)), socket.create_connection((chosen.host, chosen.port)):
            pass
    with reserve(Address("127.0.0.1", 8400)) as fixed:
        assert fixed.port == 8400


def test_a_shared_port_is_for_several_programs_that_ask_for_it() -> None:
    """Those that say SO_REUSEPORT listen there together; one that does not is in nobody's way before they do."""
    with reserve_shared(Address("127.0.0.1", 0)) as chosen:
        place = (chosen.host, chosen.port)
        with (
            socket.create_server(place, reuse_port=True),
            socket.create_server(place, reuse_port=True),
            pytest.raises(BadAddress, match="another program listens"),
            reserve_shared(chosen),
        ):
            raise AssertionError("somebody listens there")
        with reserve_shared(chosen) as again:
            assert again == chosen


def test_each_worker_has_its_own_port_for_metrics() -> None:
    """From a fixed port one counts up, any port stays any, and none is invented beyond the last."""
    metrics = Address("127.0.0.1", 9400)
    assert [later_port(metrics, steps).port for steps in range(3)] == [9400, 9401, 9402]
    assert later_port(Address("127.0.0.1", 0), 2).port == 0
    with pytest.raises(BadAddress, match="no port for each worker"):
        later_port(Address("127.0.0.1", 65535), 1)


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_of_another_machine_is_told_as_such(host: str) -> None:
    """Who binds to what is not here is told what would work."""
    with pytest.raises(BadAddress, match=f"{host} is no address of this machine"), reserve(Address(host, 0)):
        raise AssertionError("there is nothing to reserve")
