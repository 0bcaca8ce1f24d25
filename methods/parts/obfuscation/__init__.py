"""Networks and trainings of methods that replace a face, or what a camera or a restorer makes of it."""
