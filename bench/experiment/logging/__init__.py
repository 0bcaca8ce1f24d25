"""Logs of an experiment: its file, its live page, and loggers that carry its numbers elsewhere."""
