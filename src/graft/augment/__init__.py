"""What varies the training images: named policies, drawn per sample, and a sheet that shows them."""
