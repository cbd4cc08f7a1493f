"""How long things are kept, and the sweep that deletes them then."""
