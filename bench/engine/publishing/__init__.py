"""Transforms of platforms: what a site does to photos that are uploaded to it."""
