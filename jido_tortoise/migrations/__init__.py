"""Migrations for Tortoise's own tool: a package for each family, named in the "migrations" of the host's app."""
