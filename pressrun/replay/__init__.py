"""Whether a collection's pictures come out the same when they are drawn again elsewhere."""
