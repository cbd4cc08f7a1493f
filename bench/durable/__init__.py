"""Messages that are kept: Varde beside Mosquitto and ejabberd."""

from bench.durable.measure import measure as measure
