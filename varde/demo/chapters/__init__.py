"""The chapters of the demo, one file each. Refuses an order: that is in `varde.demo.book`."""
