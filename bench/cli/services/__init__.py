"""Commands about services: one for each module."""
