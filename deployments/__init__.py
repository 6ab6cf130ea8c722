"""How Pressrun is run: command line, server on one box."""
