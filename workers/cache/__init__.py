"""The model cache, done: chunks on disk, between hosts and from the origin."""
