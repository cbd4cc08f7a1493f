"""What a node remembers of the stores for a while, and how questions to them are batched. Never the truth."""
