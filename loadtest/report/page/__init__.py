"""The report as HTML, part by part."""
