"""Parts of methods that put makeup on faces."""
