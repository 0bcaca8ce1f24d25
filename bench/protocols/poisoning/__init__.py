"""The poisoning track of an experiment: protect what is published, train on it, test on clean photos."""
