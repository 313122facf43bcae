"""The pure core of trading: order lifecycle, slices, checks before sending, the paper exchange's fill model."""
