"""What is shown to others: the demo."""
