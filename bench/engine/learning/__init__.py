"""Learning from what methods published of other people: folds of people, a training loop, its place in the store."""
