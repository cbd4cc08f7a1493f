"""What a node is told from outside."""

from pathlib import Path

import pytest

from settings.environment import ConfigError
from settings.relay import RelaySettings


def test_the_defaults_need_no_environment() -> None:
    """A node on this machine, beside the API's defaults."""
    assert RelaySettings.from_environ({}) == RelaySettings()
    assert (RelaySettings().host, RelaySettings().port) == ("127.0.0.1", 8401)


@pytest.mark.parametrize(
    ("bind", "expected"),
    [("0.0.0.0:0", ("0.0.0.0", 0)), ("[::1]:9000", ("::1", 9000)), ("relay.test:8401", ("relay.test", 8401))],  # noqa: S104 - a test of what is allowed
)
def test_an_address_is_a_host_and_a_port(bind: str, expected: tuple[str, int]) -> None:
    """IPv6 in brackets, names, and port 0 for any."""
    config = RelaySettings.from_environ({"VARDE_RELAY_BIND": bind})
    assert (config.host, config.port) == expected


@pytest.mark.parametrize("bind", ["", "8401", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999", "a:1/path", "::1:8401"])
def test_what_is_no_address_is_named(bind: str) -> None:
    """The error names the variable."""
    with pytest.raises(ConfigError, match="VARDE_RELAY_BIND"):
        RelaySettings.from_environ({"VARDE_RELAY_BIND": bind})


def test_metrics_are_shown_where_one_says() -> None:
    """Nowhere by default, and also where the variable is empty."""
    for environ in ({}, {"VARDE_RELAY_METRICS_BIND": ""}):
        assert RelaySettings.from_environ(environ).metrics_bind is None
    there = RelaySettings.from_environ({"VARDE_RELAY_METRICS_BIND": "[::1]:9401"})
    assert there.metrics_bind == ("::1", 9401)
    with pytest.raises(ConfigError, match="VARDE_RELAY_METRICS_BIND"):
        RelaySettings.from_environ({"VARDE_RELAY_METRICS_BIND": "9401"})


def test_numbers_are_whole_and_positive() -> None:
    """Everything else is refused by name."""
    for variable, zero in (("VARDE_RELAY_CONNECTIONS", ["0"]), ("VARDE_RELAY_DRAIN_SECONDS", [])):
        for text in ("", *zero, "-1", "1.5", "many", "\N{SUPERSCRIPT TWO}"):
            with pytest.raises(ConfigError, match=variable):
                RelaySettings.from_environ({variable: text})


def test_balancers_are_networks() -> None:
    """Addresses and networks, of either family; a name or a half of one is refused by the variable's name."""
    read = RelaySettings.from_environ({"VARDE_RELAY_PROXY_PROTOCOL": "192.0.2.7 10.0.0.0/8 2001:db8::/32"})
    assert [str(network) for network in read.proxy_protocol] == ["192.0.2.7/32", "10.0.0.0/8", "2001:db8::/32"]
    for text in ("haproxy", "10.0.0.1/8", "10.0.0.0/8,192.0.2.7"):
        with pytest.raises(ConfigError, match="VARDE_RELAY_PROXY_PROTOCOL"):
            RelaySettings.from_environ({"VARDE_RELAY_PROXY_PROTOCOL": text})


def test_a_node_has_the_name_that_it_is_given() -> None:
    """Letters, digits and hyphens: it stands in tables, commands and logs."""
    assert RelaySettings.from_environ({"VARDE_RELAY_NAME": "oslo-1"}).name == "oslo-1"
    for text in ("", "Oslo", "-a", "a" * 33, "a b"):
        with pytest.raises(ConfigError, match="VARDE_RELAY_NAME"):
            RelaySettings.from_environ({"VARDE_RELAY_NAME": text})


def test_an_address_is_shared_only_when_it_is_said() -> None:
    """Two nodes on one port by mistake would share its clients."""
    variable = "VARDE_RELAY_REUSE_PORT"
    assert [RelaySettings.from_environ({variable: text}).reuse_port for text in ("0", "1")] == [False, True]
    for text in ("", "yes", "2"):
        with pytest.raises(ConfigError, match=variable):
            RelaySettings.from_environ({variable: text})


def test_the_rest_is_read() -> None:
    """Folder, ceiling and drain."""
    config = RelaySettings.from_environ(
        {"VARDE_DATA": "/srv/varde", "VARDE_RELAY_CONNECTIONS": "7", "VARDE_RELAY_DRAIN_SECONDS": "3"}
    )
    assert (config.data, config.connections, config.drain_deadline) == (Path("/srv/varde"), 7, 3.0)
