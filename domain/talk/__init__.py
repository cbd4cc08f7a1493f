"""Conversations, membership, sending, the log and receipts."""
