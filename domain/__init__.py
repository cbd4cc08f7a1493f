"""What may happen and why not."""
