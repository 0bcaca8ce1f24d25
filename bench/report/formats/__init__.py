"""Formats that others read: measurements as Every Eval Ever, manifests as Croissant, cards of recognisers."""
