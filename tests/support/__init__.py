"""What several test files use: rows and data made up, tiny models, runs of scripts, servers."""
