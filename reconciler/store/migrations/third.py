"""What each fetch brought into force."""

THIRD = """
CREATE TABLE advances (            -- what each fetch brought into force, the newest last
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    before TEXT NOT NULL UNIQUE,   -- the commit that was in force
    tip TEXT NOT NULL
) STRICT;
"""
