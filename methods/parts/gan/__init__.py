"""Parts of methods that train a network to make masks."""
