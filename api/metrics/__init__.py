"""What the API counts, and the page of it that Prometheus reads."""
