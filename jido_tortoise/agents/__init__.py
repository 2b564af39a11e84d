"""Agents that hibernate and thaw: the agent, its thread, the storages, and what goes between them."""
