"""The program that settles a crowd in a database by COPY. Only here does the load suite import the domain
and storage.
"""
