"""A run in Locust processes. `master` and `worker` import locust, which patches the process."""
