"""The storms of the benchmark, small."""

import pytest

from bench.storms import SERVERS, Flood, measure_flood, measure_recovery

SMALL = Flood(listeners=12, rate=50.0, warm_up=0.1, measured=0.3)
PEOPLE = 10


@pytest.mark.parametrize("server", SERVERS)
def test_a_pair_talks_beside_a_flooded_room(server: str) -> None:
    """Every message of the pair comes, before and during the flood, and the flood itself is delivered."""
    found = measure_flood(server, SMALL)
    for load in ("calm", "flooded"):
        assert found[load]["missing"] == 0
        assert found[load]["count"] > 0
        assert set(found[load]) == {"count", "p50_ms", "p99_ms", "p999_ms", "max_ms", "curve", "missing"}
    assert found["flood"]["deliveries_per_second"] > 0
    cores = {"server_cores", "generator_cores", "generator_bound"}
    assert set(found["flood"]) == {"deliveries_per_second", "sent", "held_back", *cores}


@pytest.mark.xdist_group("system")
def test_everybody_comes_back_to_a_killed_node() -> None:
    """All devices are live again, over TLS, on a new process over the same database."""
    found = measure_recovery(PEOPLE, tls=True)
    assert found["connections"] == PEOPLE
    assert set(found) == {
        *("connections", "seconds_until_all_live", "seconds_down", "handshakes_per_second"),
        *("handshakes_per_server_cpu_second", "p50_back_ms", "p99_back_ms", "p50_handshake_ms", "p99_handshake_ms"),
        *("curve", "server_cores", "beside_cores", "generator_cores"),
    }
