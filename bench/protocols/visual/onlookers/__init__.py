"""Onlookers: whom else a published photo reaches, and what they make of it without the key of its owner."""
