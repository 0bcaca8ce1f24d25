"""What records can decide: intervals over people, paired comparisons, tie groups; and what decides nothing."""
