"""Parts that make gradients of some networks hold for others: random views, a filter, ensembles of equal voices."""
