"""How frames are made: what all ways share, and one folder for each way."""
