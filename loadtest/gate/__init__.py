"""The gate: objectives, findings and the verdict on a result. Refuses to measure, and to pass what nobody measured."""
