"""Verification: is the protected photo still accepted as the person, or as another?"""
