"""What is told of a selection: leaderboard, plots, correlation of cheap scores with fine-tuning, names."""
