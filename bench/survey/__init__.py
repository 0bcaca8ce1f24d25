"""People look at protected photos: sheets to fill in, and the table of what they said."""
