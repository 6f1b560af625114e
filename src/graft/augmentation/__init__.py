"""Augmentation policies, their domains and transforms."""
