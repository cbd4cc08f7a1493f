"""A system of real processes for a run to load."""
