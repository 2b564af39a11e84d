"""The main job on real input: conversations run through agents that hibernate, and three processes take turns."""
