"""What records can decide: joint intervals, paired comparisons, tie groups; and what decides nothing."""
