"""The users of a worker process: devices that connect, talk, and come back."""
