"""Nothing: the stand-in has no model."""
