"""Layouts of public data sets on disk: one :class:`cloakbench.datasets.listing.Layout` per module."""
