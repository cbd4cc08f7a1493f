"""`varde chat`: an interactive conversation on a terminal, or a simple one over pipes."""
