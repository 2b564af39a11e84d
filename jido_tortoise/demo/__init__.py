"""The main job on real input: conversations go through agents that are hibernated, thawed and compared by three processes."""
