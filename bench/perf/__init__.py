"""Costs for `cloakbench perf`: ours beside bare loops and other packages, and how they grow."""
