"""What turns batches into pictures."""
