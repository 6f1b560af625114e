"""From bytes to a clean labelled table: sources, the one decoder, facts, duplicates, splits."""
