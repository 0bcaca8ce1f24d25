"""Statistics on records: joint intervals, paired comparisons, tie groups; and notes on what decides nothing."""
