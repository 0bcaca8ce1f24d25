"""Keys of protected photos: the folder that holds them, and a sealed note on each copy."""
