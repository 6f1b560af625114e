"""Train, test and folds: ``splits`` divides, by ``stratified`` or ``hash_split``, with the ``groups`` kept whole."""
