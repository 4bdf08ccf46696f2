"""A run folder: configuration, checkpoints, logs, and how it is opened."""
