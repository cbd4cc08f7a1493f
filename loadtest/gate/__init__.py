"""The gate: objectives, findings and the verdict on a result."""
