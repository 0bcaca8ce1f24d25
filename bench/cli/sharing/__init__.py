"""Commands that show runs to others: in a browser, on a board, to its maintainers."""
