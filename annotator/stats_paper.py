"""What FLD-5B says of itself: Tables 2 and 3 of Xiao et al., arXiv 2311.06242.

The counts of Table 2 are divided by its 126 million images (texts, regions of region-text) or by
the texts of their level (triplets), as the paper's own averages are.
"""

TEXTS_PER_IMAGE = {"brief": 1.87, "detailed": 1.0, "more_detailed": 1.0}
"""235, 126 and 126 million texts."""
REGION_TEXT = {"phrase": (5.42, 1.19), "brief": (5.42, 2.55)}
"""Regions per image, tokens of what a region says."""
TRIPLETS = {"brief": (4.27, 1.93), "detailed": (10.25, 1.49), "more_detailed": (10.17, 1.35)}
"""Regions per text, tokens of a phrase."""
PARSE = {
    "tokens": (7.95, 31.65, 70.53),
    "objects": (3.23, 13.31, 28.06),
    "attributes": (2.80, 7.27, 16.25),
    "actions": (0.58, 4.21, 8.76),
    "proper_nouns": (1.10, 2.40, 2.41),
    "object_complexity": (2.80, 4.00, 4.02),
    "action_complexity": (1.14, 3.63, 4.38),
}
"""Means of one text that is brief, detailed, more detailed."""
