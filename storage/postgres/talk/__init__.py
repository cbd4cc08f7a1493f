"""The stores of `domain.talk`, in Postgres. One transaction per call."""
