"""Migrations of the ADK sessions' tables for Tortoise's own tool, one file a version of the schema."""
