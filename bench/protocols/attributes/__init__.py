"""Attribute privacy: what attribute networks say of protected photos, against what the photos show."""
