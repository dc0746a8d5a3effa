"""`radcap repro`: several stages at a time, with one display."""
