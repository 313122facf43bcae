"""Pure parts of reading data files: columns, times, cells, spacing of bars, repeats and conflicts."""
