"""Results of a run that never was, with every part a report can have. No figure in here was measured."""

from typing import Any, Final

from bench.results import Tree

LIGHT_US: Final = {
    "varde": 11.0,
    "picows": 12.0,
    "websockets": 22.0,
    "starlette": 21.5,
    "websockets-trio": 35.0,
    "trio-websocket": 60.0,
    "node-ws": 20.0,
    "epoll-floor": 8.0,
}
BOUND: Final = "epoll-floor"
"""Whose direct messages were measured by a busy generator."""
SIZES: Final = (2, 10, 100, 1_000)


def sample_tree() -> Tree:
    """Return a whole tree, new each time."""
    return {
        "machine": {"cpu": "Abacus", "cores": 2, "memory_gib": 1.0, "kernel": "Linux 1", "python": "CPython 3.11.0"}
        | {"node": None, "packages": {"trio": "0.1"}, "date": "2026-01-01 00:00 UTC", "commit": "c0ffee"},
        "run": {"quick": False, "rounds": 3, "complete": True, "pinned": True},
        "missing": {"node-ws": "there is no `node`"},
        "fanout": {name: _fan_out(us) for name, us in LIGHT_US.items()},
        "direct": {
            name: _point("us_per_message", 3 * us, bound=name == "epoll-floor") for name, us in LIGHT_US.items()
        },
        "handshake": {"varde": _handshake(), "picows": {"per_second_per_core": 9_000.0}},
        "idle": {name: _idle(us) for name, us in LIGHT_US.items()},
        "tls": {"fanout": {name: _fan_out(1.3 * LIGHT_US[name]) for name in ("varde", "picows")}},
        "durable": _durable(),
        "flood": {"varde": {"calm": _latency(1.0), "flooded": _latency(4.0)}},
        "recovery": {"varde": {"plain": {"connections": 10_000, "seconds_until_all_live": 9.5}}},
    }


def _point(key: str, value: float, *, bound: bool = False) -> dict[str, Any]:
    return {key: value, "spread": [value, value], "achieved_per_second": 20_000.0, "generator_bound": bound}


def _fan_out(us: float) -> dict[str, Any]:
    return {load: _load(us / share) for load, share in (("light", 1), ("saturated", 3))}


def _load(us: float) -> dict[str, Any]:
    rooms = {str(size): _point("us_per_delivery", us * (1 + 4 / size)) for size in SIZES}
    return {**_point("us_per_delivery", us), "rooms": rooms}


def _handshake() -> dict[str, Any]:
    return {
        "per_second_per_core": 1_600.0,
        "ik": {"per_second_per_core": 1_600.0},
        "xx": {"per_second_per_core": 1_700.0},
    }


def _idle(kib: float) -> dict[str, Any]:
    steps = ((1_000, 1.3), (5_000, 1.1), (10_000, 1.0))
    growth = [{"connections": count, "rss_kib": 1, "rss_kib_per_connection": kib * more} for count, more in steps]
    return {"rss_kib_per_connection": kib, "growth": growth, "cpu_cores_at_10000": 0.05, "pings_in_window": 9_000}


def _latency(ms: float) -> dict[str, Any]:
    curve = [[place, ms * (1 + place / 50)] for place in (0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 100.0)]
    return {"p50_ms": ms, "p99_ms": 3 * ms, "p999_ms": 5 * ms, "max_ms": 9 * ms, "curve": curve}


def _durable() -> dict[str, Any]:
    slowness = {"varde": 1.0, "mosquitto": 2.0, "mosquitto_each_second": 1.5}
    found = {
        name: {"messages_per_second": 9_000 / ms, **_latency(ms), "at": {"1000": _latency(ms)}}
        for name, ms in slowness.items()
    }
    found["varde"]["connections"] = {"count": 10_000, "at": {"1000": _latency(2.0), "6000": _latency(9.0)}}
    return found
