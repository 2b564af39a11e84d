"""Migrations of the tables of recording for Tortoise's own tool, one file a version of the schema."""
