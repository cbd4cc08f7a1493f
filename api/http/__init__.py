"""HTTP itself: connections, what is read of a request, answers and problems, rate limits. No resources."""
