"""People who use the API, in the process of a load generator. Refuses WebSockets, and server code of any kind."""
