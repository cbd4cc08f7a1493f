"""The keys of `bench.json`, which other programs read, are those that were always there."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import dimensions, run
from bench.__main__ import measure_all
from bench.durable import measure as durable
from bench.results import Results
from bench.run import QUICK_DIMENSIONS, Options
from tests.system import require

VALUE = None
ROUNDS: dict[str, Any] = {"spread": [], "rounds": []}
LOAD = {
    **ROUNDS,
    **dict.fromkeys(("offered_per_second", "achieved_per_second", "held_back", "refused")),
    **dict.fromkeys(("server_load", "generator_load", "generator_bound")),
}
HANDSHAKES = {"per_second_per_core": VALUE, **ROUNDS}
DELIVERIES = {"us_per_delivery": VALUE, **LOAD}
MESSAGES = {"us_per_message": VALUE, **LOAD}
PICOWS = {"picows": VALUE}
HEADLINE = {**DELIVERIES, "rooms": {"100": DELIVERIES}}
FANOUT = dict.fromkeys(("light", "saturated"), HEADLINE)
GROWTH = dict.fromkeys(("connections", "rss_kib", "rss_kib_per_connection"))
IDLE = {
    "growth": [GROWTH],
    **dict.fromkeys(("rss_kib_per_connection", "cpu_cores_at_20", "window_seconds", "pings_in_window")),
}
ACCOUNT = ("sent", "acked", "refused", "received", "duplicated", "disordered", "astray", "missing", "unacked")
RATE: dict[str, Any] = {
    **dict.fromkeys(("offered", "achieved", "count", "p50_ms", "p99_ms", "p999_ms", "max_ms")),
    **dict.fromkeys(("server_cores", "generator_cores", "generator_bound", "sustained")),
    "curve": [],
    "account": dict.fromkeys(ACCOUNT),
}
DURABLE = {
    **dict.fromkeys(("messages_per_second", "p50_ms", "p99_ms")),
    "settings": dict.fromkeys(("transport", "durability", "connections")),
}
PACKAGES = (
    "cryptography",
    "msgspec",
    "picows",
    "starlette",
    "trio",
    "trio-websocket",
    "uvicorn",
    "uvloop",
    "websockets",
)
TRANSPARENCY = (
    *("entries", "append_us", "append_wall_us", "proof_ms", "lookup_ms", "lookup_p99_ms", "consistency_ms"),
    *("audit_s", "bytes_per_entry"),
)
EXPECTED: dict[str, Any] = {
    "machine": {
        **dict.fromkeys(("cpu", "cores", "memory_gib", "kernel", "python", "node", "date", "commit")),
        "packages": dict.fromkeys(PACKAGES),
    },
    "run": dict.fromkeys(("quick", "rounds", "complete", "pinned")),
    "fanout": dict.fromkeys(("varde", "picows"), FANOUT),
    "direct": dict.fromkeys(("varde", "picows"), MESSAGES),
    "handshake": {"varde": {**HANDSHAKES, "ik": HANDSHAKES, "xx": HANDSHAKES}, "picows": HANDSHAKES},
    "idle": dict.fromkeys(("varde", "picows"), IDLE),
    "durable": {
        "varde": {**DURABLE, "at": {"1000": {**RATE, "beside_cores": {"postgres": VALUE}}}},
        "mosquitto": {**DURABLE, "at": {"1000": {**RATE, "beside_cores": {}}}},
    },
    "transparency": dict.fromkeys(TRANSPARENCY),
    "ratios": dict.fromkeys(("fanout.light", "fanout.saturated", "direct", "idle"), PICOWS),
    "targets": [dict.fromkeys(("what", "target", "measured", "met"))],
}


def shape_of(value: Any) -> Any:
    """The keys alone; of a list of objects, those of the first."""
    if isinstance(value, dict):
        return {key: shape_of(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape_of(value[0])] if value and isinstance(value[0], dict) else []
    return VALUE


@pytest.mark.xdist_group("system")
def test_a_quick_run_writes_every_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quick run with windows of a moment has all figures where they were, and loses no durable message."""
    require("/usr/sbin/mosquitto", "mosquitto")
    short = {"warm_up": 0.1, "window": 0.4, "idle_window": 0.2}
    pace = run.Pace(rounds=1, sizes=(100,), handshakes=10, idle=(20,), tls_idle=(), **short)
    monkeypatch.setattr(run, "QUICK", pace)
    monkeypatch.setattr(dimensions, "IDLE_SETTLE", 0.1)
    monkeypatch.setattr(durable, "QUICK_CONNECTIONS", 4)
    monkeypatch.setattr(run, "QUICK_ENTRIES", 300)
    monkeypatch.setattr(durable, "QUICK_PACE", (0.1, 0.4))
    said: list[str] = []
    results = Results(tmp_path)
    assert measure_all(Options(output=tmp_path, quick=True, say=said.append), results, QUICK_DIMENSIONS)
    assert shape_of(json.loads(results.path.read_bytes())) == EXPECTED
    assert any("Varde: 10 handshakes" in line for line in said)
    for server in ("varde", "mosquitto"):
        account = results.find(f"durable.{server}.at.1000.account")
        assert account["sent"] == account["acked"] == account["received"] > 0
