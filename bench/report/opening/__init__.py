"""Opening: what a report says before its sections."""
