"""What methods that hide faces from people share: blends, block variance, the search of veils, key networks."""
