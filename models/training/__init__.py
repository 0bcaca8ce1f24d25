"""Training recognisers: heads, data, schedule, the zoo command."""
