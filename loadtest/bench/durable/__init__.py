"""Messages that are kept: Varde beside Mosquitto and ejabberd. Refuses to be imported for anything but `measure`."""

from loadtest.bench.durable.measure import measure as measure
