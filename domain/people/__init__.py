"""Accounts, profiles, devices, sign-in, sessions and prekeys."""
