"""Load on real servers, from outside: the benchmark beside the peers. Refuses server code and plaintext of people."""
