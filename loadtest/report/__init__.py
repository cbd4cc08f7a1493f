"""The result of a run, and every form in which people and programs read it. Nothing here measures or judges."""
