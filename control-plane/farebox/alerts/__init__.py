"""What customers set on their own spending: a cap, and thresholds that tell them in time."""
