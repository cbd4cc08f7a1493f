"""Storms: a flooded room beside a quiet one, and everybody coming back at once."""

from bench.storms.measure import measure as measure
