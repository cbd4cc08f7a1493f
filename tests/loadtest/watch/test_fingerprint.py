"""On what a run was made: enough to compare, nothing that names anybody."""

import json
import socket

from loadtest.watch.machine import PACKAGES, fingerprint


def test_a_fingerprint_tells_what_makes_runs_differ() -> None:
    """Processor, cores, memory, kernel, versions and limits are in it, and all of it is JSON."""
    found = fingerprint()
    assert json.loads(json.dumps(found)) == found
    assert set(found["packages"]) == set(PACKAGES)
    assert found["cores"] > 0
    assert found["memory_gib"] > 0
    assert found["cpu"]
    assert found["kernel"].startswith("Linux ")
    assert found["open_files"]["hard"] >= found["open_files"]["soft"]


def test_a_fingerprint_names_no_host() -> None:
    """Neither the host's name nor an address is in it."""
    text = json.dumps(fingerprint())
    assert socket.gethostname() not in text
    assert "127.0.0.1" not in text
