"""Every message, latency, connection and request of a run is accounted for: each worker has a ledger."""
