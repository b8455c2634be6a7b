"""What one trial does: data, QLoRA training and metrics, behind one small interface."""
