"""Storages that are broken on purpose, one law each: every check of the contract must fail on one of them."""

from . import checkpoints, journal, values
from .cage import CHECKS, ZOO, Animal, DriverError

__all__ = ["CHECKS", "ZOO", "Animal", "DriverError", "checkpoints", "journal", "values"]
