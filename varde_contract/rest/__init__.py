"""The REST bodies as msgspec Structs, JSON, one file per capability."""
