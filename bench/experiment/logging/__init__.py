"""Where an experiment says how it goes: its log file, and loggers that carry its numbers elsewhere."""
