"""Quality: how much a photo was changed."""
