"""Protocol `visual`: do people no longer see who it is, do machines still know, and does the owner get photos back?"""
