"""Sharing: a run checked and packed for others, and the static site that ranks the methods of several runs."""
