"""What makes gradients of some networks hold for others: views, a filter, and an ensemble of equal voices."""
