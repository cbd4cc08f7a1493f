"""The chapters of the demo, one file each."""
