"""The stages of dvc.yaml: files in, a package called, files out."""
