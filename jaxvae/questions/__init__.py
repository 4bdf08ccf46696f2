"""What a trained run is asked, a file for each question."""
