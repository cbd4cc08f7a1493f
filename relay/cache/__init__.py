"""What a node remembers of the stores, and how it shares queries to them. Never the truth."""
