"""Jobs: work that nobody waits for, done by one worker of many at a time."""
