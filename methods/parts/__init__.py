"""What methods share: loops, objectives, solvers, networks."""
