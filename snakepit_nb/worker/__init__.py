"""The child process: what a worker is, from its first breath in the nursery to the cells that it runs."""
