"""A machine on which nothing stands in the way of a run of 10,000 users."""

from loadtest.watch.machine import Machine

FINE = Machine(
    open_files=(20_000, 20_000),
    ports=28_232,
    source_addresses=True,
    clock="tsc",
    governor=None,
    cores=2,
    busy_percent=3.0,
    steal_percent=0.0,
    available_kib=8 << 20,
    somaxconn=4096,
    tracked=None,
)
