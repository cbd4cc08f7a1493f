"""The report as HTML, part by part. Refuses templates and the network: a page is one file that holds everything."""
