"""What the node counts, and the page that shows it to Prometheus. Refuses ids, addresses and whatever has no bound."""
