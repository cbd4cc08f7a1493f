"""A run, from the command to the exit code: leader, workers, course, result.

Only here, and in loadtest/locustfile.py, is locust imported, and never by importing this package alone: it patches.
"""
