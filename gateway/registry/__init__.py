"""registry: what publishers upload, how it becomes a version that can be installed."""
