"""What kernel and worker say to each other: values, their bytes, and the one place that moves them."""
