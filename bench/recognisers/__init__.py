"""Is the recogniser right? Checks, labelled pairs, calibration."""
