"""The relay nodes of one installation: which are there, how full they are, and what their operator wants of them."""
