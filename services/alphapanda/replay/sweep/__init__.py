"""A sweep: many sets of parameters over the same data, each with its own purse; ranked, and tried out of sample."""
