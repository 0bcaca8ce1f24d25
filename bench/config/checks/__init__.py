"""Checks of a config before any work: kinds, settings, names, and the views that networks were trained on."""
