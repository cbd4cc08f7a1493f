"""The REST bodies as msgspec Structs, JSON, one file per noun. Refuses fields it does not know, in every request."""
