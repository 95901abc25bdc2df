"""What the parameters of a constructor accept: annotations, the kinds of values they mean, and conversion."""
