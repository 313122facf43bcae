"""Read by every Python process of `make test-dates` as it starts, those that tests start too."""

from importlib.machinery import SourceFileLoader

from moved_clock import move

move(SourceFileLoader)
