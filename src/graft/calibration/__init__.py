"""Temperature scaling, abstention and novelty detection."""
