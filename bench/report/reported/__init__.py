"""What the papers print, beside what was measured: printed numbers, pairings, claims and their tables."""
