"""Papers: what a paper takes over: tables that fit its columns, figures in a style, and an index of all of them."""
