"""What a run does, as values: the catalogue of scenarios and their plans."""
