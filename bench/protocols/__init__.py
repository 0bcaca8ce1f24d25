"""Evaluation protocols: from embeddings to per-image records."""
