"""Checks of a data set: ``suite`` runs those of ``builtin_checks`` and of the modality, and gives findings."""
