"""Embeddings in FAISS, and search by meaning."""
