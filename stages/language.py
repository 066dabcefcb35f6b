"""Words, without a parser: how labels and phrases are compared, and the lists that rules hold."""

PRONOUNS = tuple(
    """
    i me my mine myself you your yours yourself yourselves he him his himself she her hers herself
    it its itself we us our ours ourselves they them their theirs themselves oneself
    this that these those who whom whose which what
    all another any anybody anyone anything both each everybody everyone everything few many most
    neither nobody none nothing one other others several some somebody someone something such
    """.split()
)
NOT_A_THING = (
    *("a", "an", "the", "image", "images", "group", "set", "lot", "lots", "other objects"),
    *("each other", "one another", "no one"),
)
UNGROUNDABLE = PRONOUNS + NOT_A_THING
"""What Florence-2's released processor refuses to ground (pronouns, the image itself, bare
quantities), as `normalised` writes it: lower case, no leading article."""

ABSTRACT_NOUNS = tuple(
    """
    time love freedom beauty peace happiness joy sadness anger fear hope life idea thought concept
    feeling emotion mood atmosphere ambience impression sense style way kind type sort purpose
    reason fact focus attention activity action moment occasion situation condition effect
    addition variety number amount size shape color colour distance direction position
    presence absence movement motion front middle left right
    """.split()
)
"""Heads of phrases that no box can hold; ours, after the captions models write."""

EMPTY_LABELS = ("background", "photo", "picture", "view", "scene")
"""Region labels that name no thing."""

SCENE_NOUNS = tuple(
    """
    background foreground scene view sky ground floor wall ceiling room bedroom bathroom kitchen
    office classroom restaurant store shop market street road highway city town village building
    house park garden yard field meadow grass lawn forest wood woods tree trees mountain mountains
    hill hills valley desert sand beach coast shore sea ocean lake river water snow ice stadium
    court pitch arena airport station harbor harbour farm landscape area place space surface table
    """.split()
)
"""Heads of phrases that may fill the whole image."""
