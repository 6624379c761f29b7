"""What kills runs at numbered events, goes on with them, and compares their bytes."""
