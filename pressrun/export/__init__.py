"""Collections written in the layouts that other tools read."""
