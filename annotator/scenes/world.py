"""What the synthetic world is made of: its kinds, colours, materials, places and printed words."""

KINDS = ("circle", "square", "triangle", "star", "ring", "cross", "diamond", "heart")
COLOURS = {
    "red": (208, 40, 40),
    "orange": (240, 140, 30),
    "yellow": (236, 216, 50),
    "green": (50, 160, 60),
    "blue": (40, 90, 210),
    "purple": (140, 60, 170),
    "white": (245, 245, 245),
    "black": (24, 24, 28),
}
MATERIALS = ("plain", "striped", "dotted")
SIZES = ("small", "large")
PLACES = (
    ("top left", "top", "top right"),
    ("left", "center", "right"),
    ("bottom left", "bottom", "bottom right"),
)
"""Names of the nine parts of an image, by row and column."""
BACKGROUNDS = {
    "gray": (150, 150, 152),
    "beige": (205, 190, 160),
    "teal": (110, 160, 160),
    "pink": (215, 165, 175),
}
TEXTURES = ("flat", "gradient", "noisy", "checkered", "blurred")
WORDS = (
    *("STOP", "OPEN", "EXIT", "TAXI", "CAFE", "BUS"),
    *("ZOO", "MUSIC", "HOTEL", "MILK", "JUMP", "RIVER"),
)
