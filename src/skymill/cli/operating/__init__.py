"""Looking at a run from outside: what it will cost, how it stands, why a file is there, what to try again."""
