"""The program that settles a crowd in a database by COPY. Only here does the load suite import the domain and storage.

Refuses to be imported by who makes load: it is run as a process.
"""
