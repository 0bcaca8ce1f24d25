"""Recognition: what identification and verification share, embeddings of photos by recognisers."""
