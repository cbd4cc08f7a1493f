"""Fixtures that every test may ask for, and how Hypothesis searches."""

import gc
import os
import tempfile

import pytest
from _pytest.nodeid import coerce_node_id
from hypothesis import HealthCheck, settings

from tests.system import SCRATCH

pytest_plugins = ["tests.postgres", "tests.debian_postgres", "tests.supervisor.real_system", "tests.valkey"]

# For the folders of pytest. Stores and databases of tests sync to what is no disk, and what passes leaves nothing.
os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", SCRATCH)
# And for those of programs: to make a cluster syncs a thousand files, and each fsync of a shared disk takes 5 ms.
os.environ.setdefault("TMPDIR", SCRATCH)
tempfile.tempdir = None  # asked before this line was reached, it would remember its answer

# Two cores are shared with a database and a browser: a slow example is no finding, and a deadline would time a test.
_shared = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])

# The same examples each time, so that a red build is the fault of the change that is in it.
settings.register_profile("ci", _shared, derandomize=True, database=None, print_blob=True)
# Somewhere new each time, remembering what was found: HYPOTHESIS_PROFILE=search make test
settings.register_profile("search", _shared)
# For a night.
settings.register_profile("deep", _shared, max_examples=10_000)

settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# Hardly anything dies while tests are collected, yet the garbage collector took a third of the time to look for it.
gc.disable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Say in which group of xdist each test is: pytest-xdist 3.8 writes it where pytest 9.2 does not look any more.

    Without it nothing is said either, and tests that share a server each start it in both processes.
    """
    if not getattr(config.option, "loadgroup", False):
        return
    for item in items:
        mark = item.get_closest_marker("xdist_group")
        if mark is not None and "@" not in item.nodeid.rpartition("]")[2]:
            item._id = coerce_node_id(f"{item.nodeid}@{mark.args[0]}")


def pytest_collection_finish() -> None:
    """Collect garbage again, but not among what was collected: it stays, and there is more of it than of anything."""
    gc.enable()
    gc.collect()
    gc.freeze()
