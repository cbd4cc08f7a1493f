"""A system of real processes for a run to load. Refuses to load it, and to differ from production."""
