"""REST resources of conversations: membership and messages."""
