"""What the node counts, and the page that shows it to Prometheus."""
