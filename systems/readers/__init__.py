"""Files of molecules as users have them, read into plain records."""
