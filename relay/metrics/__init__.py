"""What the node counts, and the page that Prometheus reads. No label names anybody."""
