"""Pages of the documentation, written from the repository: its documents, configs, cards and docstrings."""
