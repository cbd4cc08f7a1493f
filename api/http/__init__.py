"""HTTP serving and what every request passes. No rules."""
