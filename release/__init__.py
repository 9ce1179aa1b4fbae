"""What moves a version: its image, promotion, rollback, and what is told of them."""
