"""Processes: a pool of workers, one live view of what they do, and what keeps their memory."""
