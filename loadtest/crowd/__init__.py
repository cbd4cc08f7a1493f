"""The people of a run, and how they get into a database. Refuses to be them: users are in `loadtest.users`."""
