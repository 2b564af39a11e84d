"""A shop whose customers are served by agents."""
