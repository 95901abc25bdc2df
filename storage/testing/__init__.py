"""What users test their own stores with."""
