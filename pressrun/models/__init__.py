"""What model folders hold, read without loading them."""
