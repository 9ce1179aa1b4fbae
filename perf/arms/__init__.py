"""The services under test: processes on a folder, containers of an image, or somebody else's containers."""
