"""Tables and figures, made only from what is stored."""
