"""Groups: who is protected: numbers by groups of people and of photos, and the gaps between them."""
