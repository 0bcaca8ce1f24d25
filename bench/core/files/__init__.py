"""Files that are whole or absent, sealed against damage, and held by one process at a time."""
