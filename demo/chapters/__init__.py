"""The chapters of the demo: what people do, and the promises that must then hold."""
