"""Where the data lives, and its rows: files here, in a store of objects or on the web, and what a database answers."""
