"""Recognisers: contracts, backbones, heads, weight loading, training of the embedded zoo."""
