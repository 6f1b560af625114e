"""Data sets, from what the user has to training folds and test.

``sources`` lists labelled files (a folder, a table, tar files, torchvision's); ``ingest`` and ``packing`` take them in;
``manifest`` decodes each once; ``validation`` checks the manifest; ``splits`` divides it. ``doctor`` does all of it in
place, with the same functions, and says what would be refused.
"""
