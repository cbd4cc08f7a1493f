"""The benchmark behind `make bench`. Refuses load on anything but 127.0.0.0/8, and figures that were not measured."""
