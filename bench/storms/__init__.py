"""What happens to everybody else when much happens at once: a flooded room, and a node that is killed."""
