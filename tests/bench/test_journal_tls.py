"""The benchmark of TLS to Postgres: it runs, on a real server, and compares like with like."""

import pytest

from bench.costs import SIZES, measure_journal_tls
from tests.debian_postgres import GROUP, DebianPostgres

pytestmark = pytest.mark.xdist_group(GROUP)


async def test_both_ways_are_measured(debian_postgres: DebianPostgres, debian_database: str) -> None:
    """The same user with TLS and without; a ratio for each size of a commit."""
    url = debian_postgres.url("either_way", debian_database, **debian_postgres.trusted)
    found = await measure_journal_tls(url, 1)
    assert list(found) == [str(size) for size in SIZES]
    for each in found.values():
        assert each["cpu_ratio"] > 0
        assert each["tls_us"] > 0
