"""Identification: does the gallery still name the person in a protected photo?"""
