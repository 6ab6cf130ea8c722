"""From prompt files to checked requests."""
