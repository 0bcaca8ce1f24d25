"""What is looked at in a config before any work: kinds, settings, names, and what networks were trained on."""
