"""Parts of Invisible-Face."""
