"""One package per chat platform, each with the same file names."""
