"""What trading decides: slices, the order's life, the checks before sending, the paper exchange's fills."""
