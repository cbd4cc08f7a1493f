"""REST resources of people: account, sign-in, devices, prekeys, profiles, relay tickets."""
