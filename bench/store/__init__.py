"""The result store: entries named by content, shared by any number of runs and processes."""
