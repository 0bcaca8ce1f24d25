"""Hydra configuration groups; shipped in the wheel so that the console script finds them."""
