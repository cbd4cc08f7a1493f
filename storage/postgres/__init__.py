"""The stores of the domain over Postgres: one file for each port, its SQL beside the function that runs it.

No function here runs outside the island. Where a Struct is made of a row (`people.Account(*row)`), the columns are
selected in the order of its fields.
"""
