"""Storms: a flooded room beside a quiet one, and everybody coming back at once. Refuses to be more than `measure`."""

from loadtest.bench.storms.measure import measure as measure
