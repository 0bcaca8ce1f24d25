"""Adversaries: attackers who know a method and learn from what it published of people whom they do not judge."""
