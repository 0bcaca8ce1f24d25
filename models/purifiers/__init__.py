"""Networks that take protection out of photos again."""
