"""The commands of `alphapanda`, one a file. They print with rich; everything else logs."""
