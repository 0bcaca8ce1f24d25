"""The Python interface: what ``import cloakbench`` offers, on the config groups, store and engine of the commands."""
