"""The language on the wire, sans-I/O."""
