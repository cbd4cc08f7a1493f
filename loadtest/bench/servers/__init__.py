"""The servers that are measured, one program each. Refuses the generator: each server has its own process."""
