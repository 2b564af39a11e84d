"""Migrations of the agents' tables for Tortoise's own tool, one file a version of the schema."""
