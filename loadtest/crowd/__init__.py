"""The people of a run, and how they get into a database."""
