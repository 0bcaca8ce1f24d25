"""What work costs: ours beside bare loops and other packages, and how it grows; for `cloakbench perf`."""
