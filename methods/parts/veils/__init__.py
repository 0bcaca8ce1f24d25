"""Parts of methods that hide faces from people: blends, block variance, the search of veils, key networks."""
