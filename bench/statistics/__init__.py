"""Statistics over people: intervals, paired comparisons, tie groups, and what decides nothing."""
