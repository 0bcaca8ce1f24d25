"""Parts that methods share: loops, objectives, solvers, networks."""
