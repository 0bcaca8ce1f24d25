"""Drawing: what figures with many methods are made of."""
