"""Imports of libraries that need care on some machines."""
