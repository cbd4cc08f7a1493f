"""What operators run by hand: checks of a deployment, a doctor, backup and restore, the keys of each program.

Nothing here serves anybody.
"""
