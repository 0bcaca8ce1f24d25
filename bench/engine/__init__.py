"""The engine: plan, jobs, workers, one loop from the plan to the results."""
