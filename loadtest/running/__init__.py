"""A run in Locust processes: the master follows the plan, workers make the load, the result is put together.

`master` and `worker` import locust, which patches the process; never by importing this package alone.
"""
