"""Where and when pictures are decoded: within a budget, here or in processes that can be killed."""
