"""What decides, without reading or writing anything."""
