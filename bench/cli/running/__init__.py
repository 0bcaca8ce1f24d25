"""Commands that run experiments: sweeps, their jobs, and the views of Hydra in place of work."""
