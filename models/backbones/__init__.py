"""Network definitions, full size and slim, laid out like the public checkpoints."""
