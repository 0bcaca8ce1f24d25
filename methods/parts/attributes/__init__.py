"""What methods that hide attributes share: the surrogates' own answers, and losses against them."""
