"""The plan: publications, cells, chunks of people and units of work, each unit with its key."""
