"""Models at work: live streams, and files for other runtimes."""
