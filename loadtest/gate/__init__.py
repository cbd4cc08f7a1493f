"""The gate: objectives, findings and the verdict on a result. It reads figures, and takes none itself."""
