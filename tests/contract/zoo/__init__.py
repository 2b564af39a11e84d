"""Storages that are broken on purpose, one law each: every check of the contract must fail on one of them."""

# Each of these puts its storages into the zoo.
from . import checkpoints, concurrency, inputs, journal, listing, reading, saving, values  # noqa: F401
from .cage import CHECKS, ZOO, Animal, DriverError

__all__ = ["CHECKS", "ZOO", "Animal", "DriverError"]
