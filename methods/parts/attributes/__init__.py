"""Parts of methods that hide attributes: the surrogates' own answers, and losses against them."""
