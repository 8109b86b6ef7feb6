"""What a trained run has learned: its clusters."""
