"""What kernel and worker say to each other: values, their bytes, and the one place that reads and writes a socket."""
