"""The benchmark in rooms: store, report, config, engine, protocols, command line; see ``docs/architecture.md``."""
