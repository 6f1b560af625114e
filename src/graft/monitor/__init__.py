"""Whether what the service is asked is still like what the model was trained on, and whether it is still right."""
