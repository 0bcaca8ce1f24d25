"""One module per word of the command line; each has ``main(words) -> exit status``."""
