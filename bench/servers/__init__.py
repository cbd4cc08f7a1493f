"""The servers that are measured, one program each."""
