"""Where samples come from: ``registry`` has a row for each kind of source, ``listing`` what all of them give."""
