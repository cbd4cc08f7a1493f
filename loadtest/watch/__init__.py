"""The machine and the servers as seen from outside, and what the generator can do by itself."""
