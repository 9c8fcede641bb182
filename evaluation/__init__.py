"""What a detector finds and how well: pictures, and in time accuracy, speed and the arena."""
