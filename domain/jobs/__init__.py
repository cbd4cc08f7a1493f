"""What is done beside the servers, by one worker at a time."""
