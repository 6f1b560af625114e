"""The served model: where it lies, loading, reloading, the model store."""
