"""REST resources of the service itself: health and documentation."""
