"""Where samples come from: folders, tables, tar files, torchvision's data sets."""
