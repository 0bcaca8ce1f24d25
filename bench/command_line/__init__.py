"""How the words of a command line become a verb, flags and settings, and where plug-ins are found."""
