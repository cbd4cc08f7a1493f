"""People who use the API, in the process of a load generator."""
