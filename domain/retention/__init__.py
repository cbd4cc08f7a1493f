"""Retention: how long things are kept, and the sweep that deletes them afterwards."""
