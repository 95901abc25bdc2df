"""What the package costs beside doing without it, and the demonstration that it does its main job."""
