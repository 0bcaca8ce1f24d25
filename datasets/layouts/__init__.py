"""How public data sets lie on disk: one :class:`cloakbench.datasets.listing.Layout` per module."""
