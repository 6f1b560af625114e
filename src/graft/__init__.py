"""graft: transfer learning for images in folders, with the proof beside the model."""

__version__ = "0.1.0"
