"""Faces: the synthetic world, folders of photos, alignment, manifests."""
