"""Public data sets as they lie on disk: one module per data set, and what several of them share."""
