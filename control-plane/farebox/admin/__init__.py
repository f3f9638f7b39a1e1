"""What operators see across all organizations."""
