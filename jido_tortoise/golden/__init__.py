"""Golden files: stored agents with their values replaced, for tests that thaw them with tomorrow's code."""
