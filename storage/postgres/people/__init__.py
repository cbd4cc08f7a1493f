"""The stores of `domain.people`, in Postgres. One transaction per call."""
