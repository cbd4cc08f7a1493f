"""What is left of a run: its result, and every form in which people and programs read it."""
