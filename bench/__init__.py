"""The engine: plan, store, run, protocols, metrics, statistics, report, command line."""
