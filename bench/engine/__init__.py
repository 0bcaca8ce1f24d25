"""The engine: the contract of protocols, and jobs that protect, ask and score, with one loop for all of them."""
