"""The words of the command `floqzoo`, a file each: what a user types, and what is printed. The work is done elsewhere."""
