"""What every package uses: settings, errors, files, determinism, progress."""
