"""Poisoning: protect what is published, train on it, test on clean photos."""
