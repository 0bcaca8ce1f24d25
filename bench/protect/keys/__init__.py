"""What gives protected photos back: the folder that holds it, and what is noted of each copy."""
