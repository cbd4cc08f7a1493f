"""Load on real servers, from outside: the benchmark beside the peers."""
