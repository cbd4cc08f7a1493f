"""The stores of the domain over Postgres: one file for each port, its SQL beside the function that speaks it.

No decision is taken here beyond what one transaction must hold together, and no function here runs outside the island.
Where a noun is made of a row (`n.Account(*row)`), the columns are selected in the order of the noun's fields.
"""
