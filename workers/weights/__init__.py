"""Weights from this host's disk into memory, and models made of them."""
