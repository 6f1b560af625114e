"""Every image decoded once, every backbone run once per image; all later work reads what is kept here."""
